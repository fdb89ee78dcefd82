//! The class of each error of `MySQL` and `MariaDB`.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Cause, Error};

/// What an error of the client library means for the caller.
pub(super) fn classify(error: sqlx::Error) -> Error {
    let class: fn(Cause) -> Error = match number(&error) {
        // A row that was absent and has appeared, a deadlock, no such connection to kill.
        Some(1062 | 1213 | 1094) => Error::Conflict,
        // A lock wait that reached its limit, and on MySQL a lock that was not to be waited for.
        Some(1205 | 3572) => return Error::Conflict(Cause::LockWait(error.to_string().into())),
        // A number out of range (also a sum), a text that is no number or no date, a value too long, a check or a trigger that refuses.
        Some(1690 | 1264 | 1366 | 1292 | 1406 | 3819 | 4025 | 1644) => Error::Internal,
        Some(_) | None => match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Error::Internal
            }
            _ => Error::Unavailable,
        },
    };
    class(error.into())
}

/// The server's own number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}
