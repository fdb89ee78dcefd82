//! The class of each error of `SQLite`.

use sqlx::error::DatabaseError;

use crate::error::{Cause, Error};

/// What an error of the client library means for the caller.
pub(super) fn classify(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let code = code.and_then(|code| code.parse::<i32>().ok());
    let class: fn(Cause) -> Error = match code.map(|extended| extended & 0xff) {
        // Busy or locked by another process; a row that was absent and has appeared.
        Some(5 | 6 | 19) => Error::Conflict,
        Some(1) => Error::Internal,
        // Any other code, or an error outside of the database, which has no code.
        Some(_) | None => Error::Unavailable,
    };
    class(error.into())
}
