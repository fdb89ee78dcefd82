//! The class of each error of `MySQL` and `MariaDB`.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::Error;

/// What an error of the client library means for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn classify(error: sqlx::Error) -> Error {
    let reason = error.to_string();
    match number(&error) {
        // A duplicate of a row found absent, a lock wait that ended, a deadlock, no such thread to kill.
        Some(1062 | 1205 | 1213 | 1094) => Error::Conflict(reason),
        _ => match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Error::Internal(reason)
            }
            _ => Error::Unavailable(reason),
        },
    }
}

/// The server's own number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}
