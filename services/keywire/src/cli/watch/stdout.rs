//! The standard output of a command that runs for long: a reader that is slow, or gone, is noticed at once.

use std::future::pending;
use std::io::{Write as _, stdout};
use std::os::fd::AsFd as _;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
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

/// Waits until nobody reads stdout any more. For ever where the system does not tell: for a file, nobody has to read it.
pub(super) async fn closed() {
    let Ok(out) = stdout().as_fd().try_clone_to_owned() else { return pending().await };
    let Ok(out) = AsyncFd::with_interest(out, Interest::ERROR) else { return pending().await };
    if out.ready(Interest::ERROR).await.is_err() {
        pending().await
    }
}
