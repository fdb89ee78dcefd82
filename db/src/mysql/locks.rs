//! Finds the keys that somebody else holds locked, without waiting for a lock.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::key_list;
use super::error::classify;
use super::text;
use crate::engine::FoundLocks;
use crate::engine::shapes::{KEYS_PER_SELECT_MAX, StatementTexts, padded};
use crate::entry::Key;
use crate::error::{Cause, Error};

/// The statements that look for locks.
#[derive(Debug)]
pub(super) struct LockFinder {
    lock_unlocked: StatementTexts,
    committed_keys: StatementTexts,
    lock_nowait: StatementTexts,
}

impl LockFinder {
    pub(super) fn new() -> Self {
        Self {
            lock_unlocked: StatementTexts::new(text::lock_unlocked),
            committed_keys: StatementTexts::new(text::committed_keys),
            lock_nowait: StatementTexts::new(text::lock_nowait),
        }
    }

    /// Looks which of `keys` somebody else holds locked. The rows of the others that exist are then locked by the transaction of
    /// `connection`.
    pub(super) async fn find(
        &mut self,
        connection: &mut MySqlConnection,
        keys: &[&Key],
    ) -> Result<FoundLocks, Error> {
        let mut found = FoundLocks::default();
        for keys in keys.chunks(KEYS_PER_SELECT_MAX) {
            let free = self.lock_unlocked.of(padded(keys.len()));
            let free: HashSet<Vec<u8>> = fetch_keys(connection, free, keys).await?.into_iter().collect();
            let taken: Vec<&Key> =
                keys.iter().copied().filter(|key| !free.contains(key.as_bytes())).collect();
            if taken.is_empty() {
                continue;
            }
            let exist = self.committed_keys.of(padded(taken.len()));
            let exist: HashSet<Vec<u8>> = fetch_keys(connection, exist, &taken).await?.into_iter().collect();
            let (exist, unseen): (Vec<&Key>, Vec<&Key>) =
                taken.into_iter().partition(|key| exist.contains(key.as_bytes()));
            found.locked.extend(exist.into_iter().cloned());
            self.find_unseen(connection, &unseen, &mut found).await?;
        }
        Ok(found)
    }

    /// `keys` have no committed row. Adds each to `found`: as locked if another transaction has inserted its row, otherwise as absent. A
    /// statement only says whether one of them is locked, so the keys are halved until each is known.
    async fn find_unseen(
        &mut self,
        connection: &mut MySqlConnection,
        keys: &[&Key],
        found: &mut FoundLocks,
    ) -> Result<(), Error> {
        let mut parts = vec![keys];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let sql = self.lock_nowait.of(padded(part.len()));
            match fetch_keys(connection, sql, part).await {
                Ok(_) => found.absent.extend(part.iter().copied().cloned()),
                Err(Error::Conflict(Cause::LockWait(_))) if part.len() == 1 => {
                    found.locked.push(part[0].clone());
                }
                Err(Error::Conflict(Cause::LockWait(_))) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The keys in the rows that `sql` returns for `keys`.
async fn fetch_keys(
    connection: &mut MySqlConnection,
    sql: Arc<str>,
    keys: &[&Key],
) -> Result<Vec<Vec<u8>>, Error> {
    let keys = key_list(keys.iter().map(|key| key.as_bytes()))?;
    let found = sqlx::query_with(AssertSqlSafe(sql), keys).fetch_all(connection).await;
    found.map_err(classify)?.iter().map(|row| row.try_get_unchecked(0).map_err(classify)).collect()
}
