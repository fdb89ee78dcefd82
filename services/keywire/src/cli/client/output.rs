//! What commands print: on stdout what was asked for, on stderr a line about it.

use std::io;

use super::Failure;

/// What came of writing to stdout.
pub(crate) fn printed<T>(written: io::Result<T>) -> Result<T, Failure> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::File("cannot print".into(), error),
    })
}

/// `text` with control characters spelled out: messages repeat keys, and a key may hold anything.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
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
