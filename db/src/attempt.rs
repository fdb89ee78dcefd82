//! How an attempt to commit a batch ends.

use crate::Error;

/// How an attempt ended.
pub(crate) enum Attempt {
    Committed,
    /// Nothing of it was applied, or its fate is for the next attempt's fence to find out.
    Again,
    /// Nothing of it was applied, because somebody else was in the way.
    Conflict,
    /// The fence row tells nothing about the COMMIT that was sent.
    Lost,
}

/// Why a transaction did not get as far as COMMIT.
pub(crate) enum Failed {
    Error(Error),
    Lost,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
