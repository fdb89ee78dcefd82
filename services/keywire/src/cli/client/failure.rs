//! Why a command failed, and the exit code for it.

use std::io;
use std::process::ExitCode;

use tokio::signal::unix::SignalKind;

/// `EX_USAGE` of sysexits.
const USAGE: u8 = 64;
/// `EX_UNAVAILABLE` of sysexits.
const UNAVAILABLE: u8 = 69;
/// `EX_IOERR` of sysexits.
const IO_ERROR: u8 = 74;
/// A shell adds this to the number of the signal that ended a command.
const SIGNALED: u8 = 128;

/// Why a command failed. The text has one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The key does not exist, or the server refused the request. The same request would fail again.
    #[error("{0}")]
    Refused(String),
    /// The server cannot be reached, does not answer, or is overloaded. The same request may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// An option has a value that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A file or a pipe of the caller failed.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// A signal ended the command. The text says what became of its work.
    #[error("interrupted; {0}")]
    Interrupted(&'static str, SignalKind),
    /// The reader of stdout closed the pipe. Nothing is printed about it: the reader knows why.
    #[error("stdout is closed")]
    StdoutClosed,
}

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::StdoutClosed => ExitCode::FAILURE,
            Self::Usage(_) => USAGE.into(),
            Self::Unavailable(_) => UNAVAILABLE.into(),
            Self::File(..) => IO_ERROR.into(),
            Self::Interrupted(_, signal) => signal_exit_code(*signal),
        }
    }
}

/// The exit code of a command that ended because of `signal`.
pub(crate) fn signal_exit_code(signal: SignalKind) -> ExitCode {
    let code = u8::try_from(signal.as_raw_value()).ok().and_then(|signal| SIGNALED.checked_add(signal));
    code.map_or(ExitCode::FAILURE, Into::into)
}
