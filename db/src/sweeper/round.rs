//! One round of the sweeper where changes are not logged.

use std::time::Duration;

use super::log::{Kept, LogSweep, Step};
use super::{SweepReport, fence_ages, micros};
use crate::engine::sweep::{LogSession, SweepSession};
use crate::error::Error;
use crate::sweeper::hint::{Sweep, keys_of, ripe};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// The most steps in which a round removes rows of the log of changes. A log that was switched off is removed over several rounds.
const LOG_STEPS_MAX: usize = 100;

/// Opens a session and stores for how long changes are kept.
pub(super) async fn set_retention<S: SweepSession>(
    open: impl Future<Output = Result<S, Error>>,
    retention: Duration,
) -> Result<(), Error> {
    let mut session = within(CONNECT_TIMEOUT, open).await?;
    within(QUERY_TIMEOUT, session.set_retention(retention.as_secs())).await?;
    session.close().await;
    Ok(())
}

/// Opens a session and removes dead entries until no hint is ripe. Then removes old fence rows, and old rows of the log of changes. Returns the
/// number of entries that it removed, or `None` if another process is sweeping.
pub(super) async fn round<S: LogSession>(
    open: impl Future<Output = Result<S, Error>>,
    observe: &(impl Fn(SweepReport) + Sync),
) -> Result<Option<u64>, Error> {
    let mut session = within(CONNECT_TIMEOUT, open).await?;
    let is_ours = within(QUERY_TIMEOUT, session.lock()).await?;
    let mut removed = 0;
    if is_ours {
        while let Some(dead) = within(QUERY_TIMEOUT, transaction(&mut session)).await? {
            removed += dead;
        }
        let retention = within(QUERY_TIMEOUT, session.retention()).await?.unwrap_or_default();
        within(QUERY_TIMEOUT, session.delete_old_fences(fence_ages(retention))).await?;
        let mut log = LogSweep::new(None);
        for _ in 0..LOG_STEPS_MAX {
            let kept = Kept::at(within(QUERY_TIMEOUT, session.now()).await?, micros(retention));
            match within(QUERY_TIMEOUT, log.step(&mut session, kept)).await? {
                Step::Removed(rows) => observe(SweepReport::LogCut(rows)),
                Step::Done => break,
            }
        }
    }
    session.close().await;
    Ok(is_ours.then_some(removed))
}

/// One transaction. Returns how many entries it removed; `None` if no hint was ripe.
async fn transaction<S: SweepSession>(session: &mut S) -> Result<Option<u64>, Error> {
    let now = session.now().await?;
    let hints = session.read_hints(ripe(now)).await?;
    if hints.is_empty() {
        return Ok(None);
    }
    let sweep = Sweep::of(session.lock_entries(&keys_of(&hints)).await?, now);
    session.apply(&sweep, &hints).await?;
    Ok(Some(sweep.dead.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine as _;
    use crate::sqlite::fixture::TestStore;

    #[tokio::test]
    async fn a_round_removes_dead_entries_and_looks_at_others_again() {
        let mut store = TestStore::new().await;
        let far = i64::MAX;
        // The rows with negative numbers were not written by Keywire. They stop nothing.
        for (key, rev, expires_at, at) in
            [("dead", 1, 1, 1), ("damaged", -1, -1, 1), ("live", 1, far, 1), ("before 1970", 1, 1, -1)]
        {
            let entry =
                sqlx::query("insert into entries (k, v, rev, born, expires_at) values (?, x'', ?, 1, ?)");
            let entry = entry.bind(key.as_bytes()).bind(rev).bind(expires_at);
            entry.execute(&mut store.other).await.expect("it is valid");
            let hint = sqlx::query("insert into expiries (at, k) values (?, ?)").bind(at);
            hint.bind(key.as_bytes()).execute(&mut store.other).await.expect("it is valid");
        }
        assert_eq!(
            round(store.engine.open_sweeper(), &|_| {}).await.ok(),
            Some(Some(0)),
            "no time is in the store yet"
        );
        let time = sqlx::query("update clock set rev = unixepoch() * 1000000");
        time.execute(&mut store.other).await.expect("the row is there");
        assert_eq!(round(store.engine.open_sweeper(), &|_| {}).await.ok(), Some(Some(2)));
        let left = sqlx::query_as::<_, (Vec<u8>, i64)>("select k, at from expiries where at > 0")
            .fetch_all(&mut store.other);
        let left = left.await.expect("it can be read");
        assert!(matches!(&left[..], [(key, at)] if key == b"live" && *at > 1), "{left:?}");
        let left = sqlx::query_scalar::<_, Vec<u8>>("select k from entries").fetch_all(&mut store.other);
        assert_eq!(left.await.expect("it can be read"), [&b"before 1970"[..], b"live"]);
        assert_eq!(round(store.engine.open_sweeper(), &|_| {}).await.ok(), Some(Some(0)));
    }
}
