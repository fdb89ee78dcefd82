//! Why a get, a list or an export fails, and the message to its client.

use chassis::problem::{Code, Problem};
use db::DamagedRow;

/// The most bytes of values in the reply to a get.
pub(crate) const REPLY_VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The failure of a get, a list or an export. Only [`ReadError::TooLarge`] is a mistake of the client. A request may be tried
/// again unless the failure is that, a damaged row or [`ReadError::Internal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the database cannot be reached")]
    Unavailable,
    #[error("more gets are waiting than can be answered in time")]
    TooManyGets,
    #[error("more lists are waiting than can be answered in time")]
    TooManyLists,
    #[error("{0} exports are running, and no more may run at the same time")]
    TooManyExports(usize),
    #[error(
        "the values have {bytes} bytes or more together, at most {REPLY_VALUES_BYTES_MAX} are allowed: ask for fewer keys"
    )]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Damaged(DamagedRow),
    #[error("{row}; to continue after this row, send after={after}")]
    DamagedInList { row: DamagedRow, after: String },
    #[error("internal error")]
    Internal,
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Unavailable => Code::Unavailable,
            ReadError::TooManyGets | ReadError::TooManyLists | ReadError::TooManyExports(_) => {
                Code::Overloaded
            }
            ReadError::TooLarge { .. } => Code::TooLarge,
            ReadError::Damaged(_) | ReadError::DamagedInList { .. } | ReadError::Internal => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
