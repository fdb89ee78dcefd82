//! Messages of a process to the terminal that started it.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a process waits for somebody to read its first or its last lines.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints a line on stderr. The process goes on even if stderr is closed.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints the last line of a process on stderr. If nobody reads stderr, the process ends after a second all the same.
pub fn say_last(line: impl Display) {
    let line = one_line(&line.to_string());
    within_a_second(move || say(line));
}

/// `text` with its control characters escaped, because messages repeat keys and other texts of clients.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

/// Prints `text` on stdout when a service starts. The service starts even if stdout is full, closed or not read.
pub fn greet(text: String) {
    within_a_second(move || {
        let mut out = io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
}

/// Runs `print` on a thread of its own, and waits at most [`READER_TIMEOUT`] for its end.
fn within_a_second(print: impl FnOnce() + Send + 'static) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_breaks_the_line_it_is_named_in() {
        assert_eq!(
            one_line("No value found for key a\nb\u{1b}[2J é"),
            r"No value found for key a\nb\u{1b}[2J é"
        );
    }
}
