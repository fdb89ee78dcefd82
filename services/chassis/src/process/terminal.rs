//! Messages of a process to the terminal that started it.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the last line of a process may wait for somebody to read it.
const LAST_LINE_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints a line on stderr. That stderr is closed is no reason to stop working.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints the last line of a process on stderr. If nobody reads stderr, the process ends after a second all the same.
pub fn say_last(line: impl Display) {
    let line = line.to_string();
    let (said, done) = mpsc::channel();
    let speaker = thread::Builder::new().spawn(move || {
        say(line);
        // Nobody waits any more if it took too long.
        let _ = said.send(());
    });
    if speaker.is_ok() {
        let _ = done.recv_timeout(LAST_LINE_TIMEOUT);
    }
}
