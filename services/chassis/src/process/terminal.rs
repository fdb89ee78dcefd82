//! What a process says to whoever started it.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Says a line on stderr. Where stderr is gone there is nobody to tell, which is no reason to stop working.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
