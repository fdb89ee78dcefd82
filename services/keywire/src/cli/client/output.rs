//! What commands print: results on stdout, and one line about a failure on stderr.

use std::io;
use std::process::ExitCode;

use chassis::process::terminal::say;

use super::failure::Failure;

/// The result of printing on stdout.
pub(crate) fn printed<T>(written: io::Result<T>) -> Result<T, Failure> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::StdoutClosed,
        _ => Failure::File("cannot print".into(), error),
    })
}

/// The exit code of a command. A failure is printed in one line on stderr.
pub(crate) fn finish(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::StdoutClosed) => failure.exit_code(),
        Err(failure) => {
            say(format_args!("keywire: {}", one_line(&failure.to_string())));
            failure.exit_code()
        }
    }
}

/// `text` with its control characters escaped: messages repeat keys, and a key may contain any character.
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
