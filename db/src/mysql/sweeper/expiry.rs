//! Logs expiries in `MySQL` or `MariaDB`.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::grouped::{HintGroup, groups};
use super::{MySqlSweeper, entry, grouped, hint};
use crate::engine::shapes::padded;
use crate::engine::sweep::{ExpirySession, TakenHints};
use crate::error::Error;
use crate::mysql::arguments::key_list;
use crate::mysql::error::classify;
use crate::mysql::{changes, lane_row, text};
use crate::sweeper::expiry::DueHints;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, keys_of};

/// How old a sample of the clocks may be for a look at hints. The store clock is exact to a thousandth of this.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(3);

impl MySqlSweeper {
    /// Locks those of `hints` that are there and not locked. Returns them, sorted.
    async fn take_hints(&mut self, hints: &[Hint]) -> Result<Vec<Hint>, Error> {
        let mut taken = Vec::with_capacity(hints.len());
        for group in groups(hints) {
            let (size, arguments) = grouped(&group)?;
            let sql = match group {
                HintGroup::Same(_) => text::sweeper::take_hints_at(size),
                HintGroup::Mixed(_) => text::sweeper::take_hints(size),
            };
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let found = query.fetch_all(&mut self.connection).await.map_err(classify)?;
            taken.extend(found.iter().map(hint).collect::<Result<Vec<_>, Error>>()?);
        }
        taken.sort_unstable();
        Ok(taken)
    }
}

impl ExpirySession for MySqlSweeper {
    async fn release_lock_if_hung(&mut self) -> Result<(), Error> {
        sqlx::raw_sql(text::sweeper::RELEASE_LOCK_IF_HUNG)
            .execute(&mut self.connection)
            .await
            .map_err(classify)?;
        Ok(())
    }

    /// The lanes take a sample each second, and then store the time. If this connection took it for them, nobody would store the time.
    async fn clock(&mut self) -> Result<u64, Error> {
        self.checker.recent_floor(&mut self.connection, SAMPLE_AGE_MAX).await
    }

    async fn read_due(&mut self, due: DueHints, is_urgent: bool, limit: usize) -> Result<Vec<Hint>, Error> {
        let limit = limit as u64;
        let query = if is_urgent {
            let (at, from, to) = due.urgent;
            sqlx::query(text::sweeper::URGENT_HINTS).bind(at).bind(from).bind(to).bind(limit)
        } else {
            let (to, at) = due.others;
            sqlx::query(text::sweeper::OTHER_HINTS).bind(to).bind(at).bind(limit)
        };
        query.fetch_all(&mut self.connection).await.map_err(classify)?.iter().map(hint).collect()
    }

    async fn register(&mut self, lane: u64) -> Result<(), Error> {
        lane_row::register(&mut self.connection, &self.checker, lane, true).await?;
        self.commit().await
    }

    async fn begin(&mut self, lane: u64, seq: u64) -> Result<Option<u64>, Error> {
        let passed = lane_row::pass_fence(&mut self.connection, &mut self.checker, lane, seq, 1).await?;
        Ok(passed.map(|rev| rev.0))
    }

    /// A writer locks its entry and then its hint, so whoever locks hints first must not wait for entries.
    async fn take(&mut self, hints: &[Hint]) -> Result<TakenHints, Error> {
        let mut hints = self.take_hints(hints).await?;
        let mut entries = Vec::new();
        let mut held: BTreeSet<Vec<u8>> = BTreeSet::new();
        for keys in keys_of(&hints).chunks(HINTS_PER_SWEEP_MAX) {
            let sql = AssertSqlSafe(text::sweeper::lock_free_entries(padded(keys.len())));
            let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
            let found = query.fetch_all(&mut self.connection).await.map_err(classify)?;
            let found = found.iter().map(entry).collect::<Result<Vec<_>, Error>>()?;
            let missing: Vec<&[u8]> = keys
                .iter()
                .copied()
                .filter(|key| found.binary_search_by_key(key, |entry| entry.key.as_slice()).is_err())
                .collect();
            entries.extend(found);
            if !missing.is_empty() {
                // An entry that is there all the same is locked. One that is not has no row; if somebody adds a row, with a hint of
                // its own, the hint waits for the lock of this one.
                let sql = AssertSqlSafe(text::committed_keys(padded(missing.len())));
                let query = sqlx::query_scalar_with::<_, Vec<u8>, _>(sql, key_list(missing.into_iter())?);
                held.extend(query.fetch_all(&mut self.connection).await.map_err(classify)?);
            }
        }
        hints.retain(|hint| !held.contains(&hint.key));
        Ok(TakenHints { hints, entries })
    }

    async fn log_expired(&mut self, lane: u64, seq: u64, keys: &[Vec<u8>]) -> Result<(), Error> {
        let floor = self.checker.known_floor();
        let parts = changes::parts(keys.iter().map(Vec::as_slice), self.statement_bytes_max);
        for part in changes::arguments(lane, seq, floor, &parts) {
            self.execute(text::changes::LOG_CHANGES.into(), part?).await?;
        }
        Ok(())
    }
}
