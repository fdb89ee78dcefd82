//! Messages of a process to the terminal that started it.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints a line on stderr. That stderr is closed is no reason to stop working.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
