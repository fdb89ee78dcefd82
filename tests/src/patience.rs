//! Waiting for something to become true, never longer than a deadline.

use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at something that is not so yet.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it says `Ok`; fails with its last reason once `limit` has passed.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let reason = match within(what, limit, probe()).await {
            Ok(found) => return found,
            Err(reason) => reason,
        };
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}: {reason}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// `work`, which must end before `limit` has passed.
pub async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}
