//! The standard output of a command that runs for long. A slow reader does not keep a signal from ending the command, and a reader that is gone
//! is noticed at once.

use std::convert::Infallible;
use std::future::pending;
use std::io::{Write as _, stdout};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::cli::client::{Failure, printed};

/// Prints `lines` and flushes them. A reader that takes nothing holds up a thread of its own, so that a signal still ends the command.
pub(super) async fn print(lines: Vec<u8>) -> Result<(), Failure> {
    let printing = spawn_blocking(move || {
        let mut out = stdout().lock();
        out.write_all(&lines).and_then(|()| out.flush())
    });
    printed(printing.await.expect("printing does not panic"))
}

/// Waits until nobody reads stdout any more. Nobody has to read a file, so for a file it waits for ever.
pub(super) async fn closed() {
    let (sender, closed) = oneshot::channel::<Infallible>();
    // It ends with the process.
    let thread = thread::Builder::new().name("stdout".into()).spawn(move || {
        let out = stdout();
        // No events are asked for, so only an error or a hang-up ends the wait.
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&out, PollFlags::empty())], None) {}
        drop(sender);
    });
    // The sender never sends. Without the thread, a closed stdout is noticed when something is printed.
    if thread.is_err() || closed.await.is_ok() {
        pending::<()>().await;
    }
}
