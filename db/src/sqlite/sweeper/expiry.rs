//! Logs expiries in `SQLite`.

use sqlx::AssertSqlSafe;

use super::{SqliteSweeper, hint};
use crate::engine::shapes::{pad, padded};
use crate::engine::sweep::{ExpirySession, TakenHints};
use crate::error::Error;
use crate::sqlite::arguments::{hint_list, signed};
use crate::sqlite::clock::now;
use crate::sqlite::error::classify;
use crate::sqlite::{changes, lane_row, text};
use crate::sweeper::expiry::DueHints;
use crate::sweeper::hint::{Hint, keys_of};

impl ExpirySession for SqliteSweeper {
    /// A process that hangs keeps no lock, and each process sweeps.
    async fn release_lock_if_hung(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn clock(&mut self) -> Result<u64, Error> {
        self.connection.check_read()?;
        now(&mut self.connection, &self.clock).await
    }

    /// Reads without the lock that writers need.
    async fn read_due(&mut self, due: DueHints, is_urgent: bool, limit: usize) -> Result<Vec<Hint>, Error> {
        let limit = signed(limit as u64)?;
        let query = if is_urgent {
            let (at, from, to) = due.urgent;
            let query = sqlx::query(text::sweeper::URGENT_HINTS).bind(signed(at)?);
            query.bind(signed(from)?).bind(signed(to)?).bind(limit)
        } else {
            let (to, at) = due.others;
            sqlx::query(text::sweeper::OTHER_HINTS).bind(signed(to)?).bind(signed(at)?).bind(limit)
        };
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.iter().map(hint).collect()
    }

    async fn register(&mut self, lane: u64) -> Result<(), Error> {
        lane_row::register(&mut self.connection, &self.clock, lane, true).await
    }

    async fn begin(&mut self, lane: u64, seq: u64) -> Result<Option<u64>, Error> {
        self.connection.check_write().await?;
        let has_begun = &mut self.is_in_transaction;
        let passed =
            lane_row::pass_fence(&mut self.connection, &self.clock, has_begun, (lane, seq), 1).await?;
        Ok(passed.map(|rev| rev.0))
    }

    /// Nobody else writes now, so everything is free.
    async fn take(&mut self, hints: &[Hint]) -> Result<TakenHints, Error> {
        let sql = AssertSqlSafe(text::sweeper::read_hints(padded(hints.len())));
        let query = sqlx::query_with(sql, hint_list(pad(hints.iter()))?);
        let found = query.fetch_all(&mut *self.connection).await.map_err(classify)?;
        let hints = found.iter().map(hint).collect::<Result<Vec<_>, Error>>()?;
        let entries = if hints.is_empty() { Vec::new() } else { self.read_entries(&keys_of(&hints)).await? };
        Ok(TakenHints { hints, entries })
    }

    async fn log_expired(&mut self, lane: u64, seq: u64, keys: &[Vec<u8>]) -> Result<(), Error> {
        let (at, keys) = (self.clock.now()?, keys.iter().map(Vec::as_slice));
        for part in changes::arguments(lane, seq, at, keys)? {
            self.execute(text::changes::LOG_CHANGES.into(), part).await?;
        }
        Ok(())
    }
}
