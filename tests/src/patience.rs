//! Waits for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The time limit for something that should happen at once, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The pause between two checks of a condition.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Calls `probe` until it returns `Ok`. Fails with its last error after `limit`.
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

/// The result of `work`. Fails after `limit`.
pub async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}
