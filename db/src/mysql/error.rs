//! The class of each error of `MySQL` and `MariaDB`.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Cause, Error};

/// What an error of the client library means for the caller.
pub(crate) fn classify(error: sqlx::Error) -> Error {
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

/// What the error of a statement means that was only prepared. Its text says what an operator may do.
pub(super) fn classify_prepared(error: sqlx::Error) -> Error {
    let (Some(number), Some(message)) =
        (number(&error), error.as_database_error().map(DatabaseError::message))
    else {
        return classify(error);
    };
    match number {
        1142 | 1143 => {
            let reason = format!("the database user lacks a right: {message}: run `ws-ingest migrate`");
            Error::NotReady(reason.into())
        }
        1146 => Error::NotReady(format!("a table of the schema is missing: {message}").into()),
        _ => classify(error),
    }
}

/// The server's own number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}
