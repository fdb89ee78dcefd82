//! What the client is told when a get fails.

use chassis::problem::{Code, Problem};

use crate::config::ANSWER_BYTES_MAX;

/// Why a get has no answer. Nothing but [`LookupError::TooLarge`] is the client's doing; all but that and
/// [`LookupError::Internal`] may work when tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("the database cannot be reached")]
    Unavailable,
    #[error("more gets are waiting than can be answered in time")]
    Overloaded,
    #[error("{0} exports are under way, and no more are allowed at a time")]
    ExportsMax(usize),
    #[error(
        "the values have {bytes} bytes together, at most {ANSWER_BYTES_MAX} are allowed: ask for fewer keys"
    )]
    TooLarge { bytes: usize },
    #[error("internal error")]
    Internal,
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        let code = match error {
            LookupError::Unavailable => Code::Unavailable,
            LookupError::Overloaded | LookupError::ExportsMax(_) => Code::Overloaded,
            LookupError::TooLarge { .. } => Code::TooLarge,
            LookupError::Internal => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
