//! Whether the server of a connection is still fit for use. Its variables, its role and the schema may change while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio::time::Instant;

use super::clock::sample;
use super::error::{classify, classify_prepared};
use super::{durability, migrate, text};
use crate::engine::clock::{QUIET_MAX, StoreClock};
use crate::error::Error;

/// How many checks of a server have failed. All connections of a process share this count.
pub(super) type FailedChecks = Arc<AtomicU64>;

/// Checks the server of one connection.
///
/// A process checks once a second. The connection that needs the time next does it for all. In two cases a connection does it for itself:
///
/// - A check on another connection has failed. Both may be connected to the same server.
/// - Its own last check is [`QUIET_MAX`] ago. After a failover, the connections of a process may have different servers.
#[derive(Debug)]
pub(super) struct ServerChecker {
    clock: StoreClock,
    failed_checks: FailedChecks,
    /// `failed_checks` before the last check of this connection.
    failed_before: u64,
    /// When this connection last checked everything, also the schema. `None`: not yet.
    checked_at: Option<Instant>,
    unsafe_durability: bool,
    /// Statements of this connection, one for each table, that it must be able to prepare.
    statements: Vec<String>,
}

/// What a check has found.
pub(super) struct CheckResult {
    /// The earliest time that a statement may use as the present time.
    pub(super) floor: u64,
    /// The stored time.
    pub(super) stored: u64,
    pub(super) is_durable: bool,
}

impl ServerChecker {
    /// For a new connection, which must be checked before anything else. It is to send `statements`, or others with the same needs.
    pub(super) fn new(
        clock: StoreClock,
        failed_checks: FailedChecks,
        unsafe_durability: bool,
        statements: Vec<String>,
    ) -> Self {
        Self { clock, failed_checks, failed_before: 0, checked_at: None, unsafe_durability, statements }
    }

    /// The earliest time that a statement may use as the present time, as far as this process knows it.
    pub(super) fn known_floor(&self) -> u64 {
        self.clock.floor()
    }

    /// The same. `None` if the server must be checked first.
    pub(super) fn fresh_floor(&self) -> Option<u64> {
        let floor = self.clock.fresh_floor()?;
        let is_trusted = self.failed_before == self.failed_checks.load(Ordering::Relaxed);
        (is_trusted && !self.must_check_all()).then_some(floor)
    }

    /// The earliest time that a statement may use as the present time. Checks the server first if the last check is too old. After an error,
    /// the connection must not be used any more.
    pub(super) async fn floor(&mut self, connection: &mut MySqlConnection) -> Result<u64, Error> {
        match self.fresh_floor() {
            Some(floor) => Ok(floor),
            None => Ok(self.check(connection).await?.floor),
        }
    }

    /// The same, from a sample of the last `age_max`, whoever took it: for a look that changes nothing.
    pub(super) async fn recent_floor(
        &mut self,
        connection: &mut MySqlConnection,
        age_max: Duration,
    ) -> Result<u64, Error> {
        match self.clock.floor_sampled_within(age_max) {
            Some(floor) => Ok(floor),
            None => Ok(self.check(connection).await?.floor),
        }
    }

    /// Checks the server.
    pub(super) async fn check(&mut self, connection: &mut MySqlConnection) -> Result<CheckResult, Error> {
        // Read before the check: a failure on another connection meanwhile makes this one check again.
        let failed_before = self.failed_checks.load(Ordering::Relaxed);
        let checked = self.try_check(connection).await;
        match checked {
            Ok(_) => self.failed_before = failed_before,
            Err(_) => _ = self.failed_checks.fetch_add(1, Ordering::Relaxed),
        }
        checked
    }

    async fn try_check(&mut self, connection: &mut MySqlConnection) -> Result<CheckResult, Error> {
        let asked = Instant::now();
        if self.must_check_all() {
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
            return Err(Error::NotReady(durability::reason(connection).await?.into()));
        }
        let floor = self.clock.sampled(asked, sample.clock, sample.stored);
        Ok(CheckResult { floor, stored: sample.stored, is_durable: sample.is_durable })
    }

    /// Checks that the tables exist, and that the user has its rights on them. Without this check, a service that lost a right would open a
    /// new connection and count as ready until the first statement failed.
    async fn check_statements(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        for statement in &self.statements {
            let prepare = sqlx::raw_sql(AssertSqlSafe(text::prepare(statement)));
            prepare.execute(&mut *connection).await.map_err(classify_prepared)?;
        }
        Ok(())
    }

    fn must_check_all(&self) -> bool {
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
    async fn a_connection_is_checked_after_a_check_on_another_one_has_failed_and_each_ten_seconds() {
        let (clock, failed_checks) = (StoreClock::new(), FailedChecks::default());
        let mut checker = ServerChecker::new(clock.clone(), Arc::clone(&failed_checks), false, Vec::new());
        clock.sampled(Instant::now(), 1_800_000_000_000_000, 0);
        assert_eq!(checker.fresh_floor(), None, "a new connection is not checked yet");
        checker.checked_at = Some(Instant::now());
        assert!(checker.fresh_floor().is_some(), "there was a check on another connection");
        failed_checks.fetch_add(1, Ordering::Relaxed);
        assert_eq!(checker.fresh_floor(), None, "the check on another connection has failed");
        checker.failed_before = 1;
        assert!(checker.fresh_floor().is_some());
        tokio::time::advance(QUIET_MAX).await;
        clock.sampled(Instant::now(), 1_800_000_010_000_000, 0);
        assert_eq!(
            checker.fresh_floor(),
            None,
            "for ten seconds there were only checks on other connections"
        );
    }
}
