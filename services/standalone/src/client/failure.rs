//! Why a command did not do what it was asked for, and the exit code that says so.

use std::io;
use std::process::ExitCode;

/// `EX_UNAVAILABLE` of sysexits.
const UNAVAILABLE: u8 = 69;

/// What ends a command, in one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The key is not there, or the service said no: the same again would end the same.
    #[error("{0}")]
    Refused(String),
    /// The service cannot be reached, does not answer, or says that it cannot now.
    #[error("{0}")]
    Unavailable(String),
    /// Something of the caller's own: a file, a pipe.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// Nobody reads on what is printed. Whoever closed the pipe knows why.
    #[error("nobody reads what is printed")]
    Unread,
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::File(..) | Self::Unread => ExitCode::FAILURE,
            Self::Unavailable(_) => ExitCode::from(UNAVAILABLE),
        }
    }
}

/// How the process ends; a failure is one line on stderr.
pub(crate) fn finish(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Unread) => failure.exit_code(),
        Err(failure) => {
            eprintln!("keywire: {}", one_line(&failure.to_string()));
            failure.exit_code()
        }
    }
}

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
