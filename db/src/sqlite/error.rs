//! The class of each error of `SQLite`.

use crate::error::Error;

/// What an error of the client library means for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn classify(error: sqlx::Error) -> Error {
    let reason = error.to_string();
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|c| c.parse::<i32>().ok());
    match code.map(|extended| extended & 0xff) {
        // Busy or locked by another process; an entry that appeared.
        Some(5 | 6 | 19) => Error::Conflict(reason),
        Some(1) => Error::Internal(reason),
        // Any other code, or an error outside of the database, which has no code.
        Some(_) | None => Error::Unavailable(reason),
    }
}
