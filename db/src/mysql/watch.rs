//! Whether the server of a connection is still fit for use. Its variables, its role and the schema may change while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio::time::Instant;

use super::clock::sample;
use super::connect::NOT_DURABLE;
use super::error::{classify, classify_prepared};
use super::{migrate, text};
use crate::engine::clock::{QUIET_MAX, StoreClock};
use crate::error::Error;

/// How many looks at a server have failed. All connections of a process share this count.
pub(super) type FailedLooks = Arc<AtomicU64>;

/// The looks of one connection at its server.
///
/// A process looks once a second. The connection that needs the time next does it for all. In two cases a connection looks for itself:
///
/// - A look of another connection has failed. Both may be connected to the same server.
/// - Its own last look is [`QUIET_MAX`] ago. After a failover, the connections of a process may have different servers.
#[derive(Debug)]
pub(super) struct Watch {
    clock: StoreClock,
    failed_looks: FailedLooks,
    /// `failed_looks` before the last look of this connection.
    failed_before: u64,
    /// When this connection last looked at everything: also at the schema. `None`: not yet.
    checked_at: Option<Instant>,
    unsafe_durability: bool,
    /// Statements of this connection, one for each table, that it must be able to prepare.
    statements: Vec<String>,
}

/// What a connection learnt from its look.
pub(super) struct Look {
    /// The time before which no statement may see the store.
    pub(super) floor: u64,
    /// The largest time in the store.
    pub(super) stored: u64,
    pub(super) is_durable: bool,
}

impl Watch {
    /// For a new connection, which must look before anything else. It is to send `statements`, or others with the same needs.
    pub(super) fn new(
        clock: StoreClock,
        failed_looks: FailedLooks,
        unsafe_durability: bool,
        statements: Vec<String>,
    ) -> Self {
        Self { clock, failed_looks, failed_before: 0, checked_at: None, unsafe_durability, statements }
    }

    /// The time before which no statement may see the store, as far as this process knows it.
    pub(super) fn known_floor(&self) -> u64 {
        self.clock.floor()
    }

    /// The same. `None` if this connection must look first.
    pub(super) fn fresh_floor(&self) -> Option<u64> {
        let floor = self.clock.fresh_floor()?;
        let is_trusted = self.failed_before == self.failed_looks.load(Ordering::Relaxed);
        (is_trusted && !self.must_check()).then_some(floor)
    }

    /// The time before which no statement may see the store. Looks at the server if need be; after an error the connection must not be
    /// used any more.
    pub(super) async fn floor(&mut self, connection: &mut MySqlConnection) -> Result<u64, Error> {
        match self.fresh_floor() {
            Some(floor) => Ok(floor),
            None => Ok(self.look(connection).await?.floor),
        }
    }

    /// Looks at the server.
    pub(super) async fn look(&mut self, connection: &mut MySqlConnection) -> Result<Look, Error> {
        // Read before the look: a failure during the look makes this connection look again.
        let failed_before = self.failed_looks.load(Ordering::Relaxed);
        let look = self.try_look(connection).await;
        match look {
            Ok(_) => self.failed_before = failed_before,
            Err(_) => _ = self.failed_looks.fetch_add(1, Ordering::Relaxed),
        }
        look
    }

    async fn try_look(&mut self, connection: &mut MySqlConnection) -> Result<Look, Error> {
        let asked = Instant::now();
        if self.must_check() {
            migrate::check(connection).await?;
            check_tables(connection).await?;
            self.check_statements(connection).await?;
            self.checked_at = Some(asked);
        }
        let asked = Instant::now();
        let sample = sample(connection).await?;
        if !sample.is_primary {
            return Err(Error::NotReady("it is read-only, so it is not the primary (read_only)".into()));
        }
        if !sample.is_durable && !self.unsafe_durability {
            return Err(Error::NotReady(NOT_DURABLE.into()));
        }
        let floor = self.clock.sampled(asked, sample.clock, sample.stored);
        Ok(Look { floor, stored: sample.stored, is_durable: sample.is_durable })
    }

    /// Checks that the tables are there, and that the user has its rights on them. Without this check, a new connection of a service that
    /// lost a right would count as ready until its first statement failed.
    async fn check_statements(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        for statement in &self.statements {
            let prepare = sqlx::raw_sql(AssertSqlSafe(text::prepare(statement)));
            prepare.execute(&mut *connection).await.map_err(classify_prepared)?;
        }
        Ok(())
    }

    fn must_check(&self) -> bool {
        self.checked_at.is_none_or(|checked| checked.elapsed() >= QUIET_MAX)
    }
}

/// Checks that the tables are of an engine with transactions. Without them a batch may be applied in part.
async fn check_tables(connection: &mut MySqlConnection) -> Result<(), Error> {
    let table = sqlx::query_scalar::<_, String>(text::TABLE_OF_OTHER_ENGINE).fetch_optional(connection);
    match table.await.map_err(classify)? {
        None => Ok(()),
        Some(table) => {
            let reason = format!(
                "the table `{table}` must have the engine InnoDB: run `alter table {table} engine = InnoDB`"
            );
            Err(Error::NotReady(reason.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_looks_by_itself_after_a_look_of_another_one_has_failed_and_each_ten_seconds() {
        let (clock, failed_looks) = (StoreClock::new(), FailedLooks::default());
        let mut watch = Watch::new(clock.clone(), Arc::clone(&failed_looks), false, Vec::new());
        clock.sampled(Instant::now(), 1_800_000_000_000_000, 0);
        assert_eq!(watch.fresh_floor(), None, "a new connection has not looked yet");
        watch.checked_at = Some(Instant::now());
        assert!(watch.fresh_floor().is_some(), "another connection has looked");
        failed_looks.fetch_add(1, Ordering::Relaxed);
        assert_eq!(watch.fresh_floor(), None, "the look of another connection has failed");
        watch.failed_before = 1;
        assert!(watch.fresh_floor().is_some());
        tokio::time::advance(QUIET_MAX).await;
        clock.sampled(Instant::now(), 1_800_000_010_000_000, 0);
        assert_eq!(watch.fresh_floor(), None, "only other connections have looked for ten seconds");
    }
}
