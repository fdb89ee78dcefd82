//! Time limits of a lane's calls to its database. While a call waits, overdue writes in the queue are refused.

use std::time::Duration;

use tokio::pin;
use tokio::time::{Instant, timeout_at};

use crate::error::{Cause, Error};
use crate::lane::batch::{Batch, GRACE};
use crate::lane::batcher::Batcher;
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT};

/// How often the queue is searched for overdue writes while the database does not answer.
const CHECK_INTERVAL: Duration = GRACE.checked_div(2).expect("two is not zero");

/// The time limits of the next calls to the database.
pub(crate) struct TimeLimits<'b> {
    /// When to stop waiting for a connection.
    connect_by: Instant,
    /// When to give up a statement. No statement may take longer than [`QUERY_TIMEOUT`] either.
    end_by: Instant,
    /// The queue in which overdue writes are refused meanwhile.
    batcher: Option<&'b mut Batcher>,
}

impl<'b> TimeLimits<'b> {
    /// For a lane without a batch. A write that arrives meanwhile waits until the statement ends, so the limit is [`GRACE`].
    pub(crate) fn idle() -> Self {
        let now = Instant::now();
        Self { connect_by: now + CONNECT_TIMEOUT, end_by: now + GRACE, batcher: None }
    }

    /// For an attempt to commit `batch`: a connection must be open at its first deadline, and a statement must end at most
    /// [`GRACE`] later. A batch without writes counts as due now.
    pub(crate) fn for_batch(batch: &Batch, batcher: &'b mut Batcher) -> Self {
        let deadline = batch.deadline().unwrap_or_else(Instant::now);
        Self { connect_by: deadline, end_by: deadline + GRACE, batcher: Some(batcher) }
    }

    /// Waits for `connecting`. At its limit: [`Error::Unavailable`].
    pub(super) async fn connection<T>(
        &mut self,
        connecting: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait(self.connect_by, connecting).await
    }

    /// Waits for `statement`. At its limit: [`Error::Unavailable`].
    pub(super) async fn statement<T>(
        &mut self,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait(self.end_by.min(Instant::now() + QUERY_TIMEOUT), statement).await
    }

    async fn wait<T>(
        &mut self,
        until: Instant,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        if let Some(batcher) = &mut self.batcher {
            // They are older than the batch, so its deadlines do not bound their wait.
            batcher.refuse_late_aside();
        }
        pin!(work);
        loop {
            if let Ok(done) = timeout_at(until.min(Instant::now() + CHECK_INTERVAL), &mut work).await {
                return done;
            }
            if let Some(batcher) = &mut self.batcher {
                batcher.refuse_late();
            }
            if until <= Instant::now() {
                return Err(Error::Unavailable(Cause::Timeout(begun.elapsed())));
            }
        }
    }
}
