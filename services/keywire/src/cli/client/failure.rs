//! Why a command did not do what it was asked for, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use chassis::process::terminal::say;
use tokio::signal::unix::SignalKind;

use super::one_line;

/// `EX_UNAVAILABLE` of sysexits.
const UNAVAILABLE: u8 = 69;
/// `EX_IOERR` of sysexits.
const IO_ERROR: u8 = 74;
/// What shells add to the number of the signal that ended a command.
const SIGNALED: u8 = 128;

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
    /// A signal came, and what was begun is taken away.
    #[error("interrupted; nothing was {0}")]
    Interrupted(&'static str, SignalKind),
    /// Nobody reads on what is printed. Whoever closed the pipe knows why.
    #[error("nobody reads what is printed")]
    Unread,
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::Unread => ExitCode::FAILURE,
            Self::Unavailable(_) => UNAVAILABLE.into(),
            Self::File(..) => IO_ERROR.into(),
            Self::Interrupted(_, signal) => u8::try_from(signal.as_raw_value())
                .map_or(ExitCode::FAILURE, |signal| (SIGNALED + signal).into()),
        }
    }
}

/// How the process ends; a failure is one line on stderr.
pub(crate) fn finish(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Unread) => failure.exit_code(),
        Err(failure) => {
            say(format_args!("keywire: {}", one_line(&failure.to_string())));
            failure.exit_code()
        }
    }
}
