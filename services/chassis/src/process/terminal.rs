//! Messages of a process to the terminal that started it.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a process waits for somebody to read its first or its last lines.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints a line on stderr. That stderr is closed is no reason to stop working.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints the last line of a process on stderr. If nobody reads stderr, the process ends after a second all the same.
pub fn say_last(line: impl Display) {
    let line = line.to_string();
    without_waiting(move || say(line));
}

/// Prints `text` on stdout when a service starts. That stdout is full, closed or not read is no reason not to start.
pub fn greet(text: String) {
    without_waiting(move || {
        let mut out = io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
}

/// Runs `print` on a thread of its own, and waits for its end, but not for long.
fn without_waiting(print: impl FnOnce() + Send + 'static) {
    let (printed, done) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        print();
        // Nobody waits any more if it took too long.
        let _ = printed.send(());
    });
    if thread.is_ok() {
        let _ = done.recv_timeout(READER_TIMEOUT);
    }
}
