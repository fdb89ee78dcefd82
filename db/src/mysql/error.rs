//! The class of each error of `MySQL` and `MariaDB`.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Cause, Error};

/// What an error of the client library means for the caller.
pub(super) fn classify(error: sqlx::Error) -> Error {
    let class: fn(Cause) -> Error = match number(&error) {
        // A row that was absent and has appeared, a lock wait that reached its limit, a deadlock, no such connection to kill.
        Some(1062 | 1205 | 1213 | 1094) => Error::Conflict,
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
