//! What commands print: results on stdout, and one line about a failure on stderr.

use std::io;
use std::process::ExitCode;

use chassis::process::terminal::{one_line, say};

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
