//! The class of each error of `SQLite`.

use sqlx::error::DatabaseError;

use crate::error::{Cause, Error};

/// A write failed for any reason but a full disk.
const IOERR_WRITE: i32 = 0x30a;

/// What an error of the client library means for the caller.
pub(super) fn classify(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let extended = code.and_then(|code| code.parse::<i32>().ok());
    let class: fn(Cause) -> Error = match extended.map(|extended| extended & 0xff) {
        // Busy or locked by another process; a row that was absent and has appeared.
        Some(5 | 6 | 19) => Error::Conflict,
        Some(1) => Error::Internal,
        // The disk, the quota or the largest size of a file is reached. Until COMMIT has written its last page, the log holds no
        // part of the transaction that counts, so even a COMMIT that fails so was not carried out.
        Some(13) => Error::Refused,
        // The system refused a write: some quotas and limits have no code of their own. A failed sync has another code.
        Some(10) if extended == Some(IOERR_WRITE) => Error::Refused,
        // Any other code, or an error outside of the database, which has no code.
        Some(_) | None => Error::Unavailable,
    };
    class(error.into())
}
