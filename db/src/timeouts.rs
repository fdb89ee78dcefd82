//! How long a caller waits for the database.

use std::time::Duration;

use tokio::time::timeout;

use crate::error::{Cause, Error};

/// How long opening a connection may take, its checks included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one statement may take before its connection is given up.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// `work`, or [`Error::Unavailable`] once `limit` has passed.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Unavailable(Cause::Timeout(limit))),
    }
}
