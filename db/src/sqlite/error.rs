//! The class of each error of `SQLite`.

use std::path::Path;

use sqlx::error::DatabaseError;

use crate::error::{Cause, Error};

/// A write failed for any reason but a full disk.
const IOERR_WRITE: i32 = 0x30a;

/// The code of a file with another content.
const NOT_A_DATABASE: &str = "26";
/// The code of a file that cannot be opened.
const CANNOT_OPEN: &str = "14";

/// What an error means that came when `file` was opened or first read.
pub(crate) fn classify_opening(file: &Path, error: sqlx::Error) -> Error {
    if has_code(&error, NOT_A_DATABASE) {
        return Error::NotReady(format!("{} is not an SQLite database", file.display()).into());
    }
    classify(error)
}

/// The same for the file of the store, which Keywire can make.
pub(super) fn classify_opening_store(file: &Path, error: sqlx::Error) -> Error {
    if has_code(&error, CANNOT_OPEN) && !file.exists() {
        let file = file.display();
        return Error::Unavailable(
            format!("{file} does not exist: `ws-ingest migrate` makes it, and so does `keywire`").into(),
        );
    }
    classify_opening(file, error)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|found| found == code)
}

/// What an error of the client library means for the caller.
pub(crate) fn classify(error: sqlx::Error) -> Error {
    let database = error.as_database_error();
    let code = database.and_then(DatabaseError::code).and_then(|code| code.parse::<i32>().ok());
    let lacks_schema = database.is_some_and(|error| error.message().starts_with("no such "));
    let class: fn(Cause) -> Error = match (code, code.map(|extended| extended & 0xff)) {
        // A row that was absent and has appeared; busy or locked by another process.
        (Some(1555 | 2067), _) | (_, Some(5 | 6)) => Error::Conflict,
        (_, Some(1)) if lacks_schema => Error::NotReady,
        // A sum out of range, a value too large, a check or a trigger that refuses, a value of the wrong type.
        (_, Some(1 | 18 | 19 | 20)) => Error::Internal,
        // The disk, the quota or the largest size of a file is reached. Until COMMIT has written its last page, the log holds no
        // part of the transaction that counts, so even a COMMIT that fails so was not carried out.
        // Some quotas and limits have no code of their own: the system just refuses a write. A failed sync has another code.
        (_, Some(13)) | (Some(IOERR_WRITE), _) => Error::Refused,
        // Any other code, or an error outside of the database, which has no code.
        (_, Some(_) | None) => Error::Unavailable,
    };
    class(error.into())
}

/// The error of a transaction that could not begin: if another process has kept the lock of writers for the whole wait, nothing can be
/// written.
pub(super) fn not_begun(error: Error) -> Error {
    match error {
        Error::Conflict(reason) => Error::Unavailable(reason),
        error @ (Error::Unavailable(_) | Error::NotReady(_) | Error::Refused(_) | Error::Internal(_)) => {
            error
        }
    }
}
