//! How long a lane waits for its database, and who is refused meanwhile.

use std::time::Duration;

use tokio::pin;
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::batch::{Batch, GRACE};
use crate::feed::Feed;
use crate::store::{CONNECT_TIMEOUT, QUERY_TIMEOUT};

/// How often what waits is looked through while the database does not answer.
const LOOK: Duration = GRACE.checked_div(2).expect("two is not zero");

/// The time that the database has left for what a lane is about to ask.
pub(crate) struct Patience<'f> {
    /// When a connection must be there.
    connected_by: Instant,
    /// When a statement must have ended.
    ended_by: Instant,
    /// What waits meanwhile, and may fall due.
    feed: Option<&'f mut Feed>,
}

impl<'f> Patience<'f> {
    /// While nothing is to be written: a write that comes meanwhile waits for a statement, but not for a connection.
    pub(crate) fn idle() -> Self {
        let now = Instant::now();
        Self { connected_by: now + CONNECT_TIMEOUT, ended_by: now + GRACE, feed: None }
    }

    /// For an attempt to commit `batch`, behind which `feed` waits: a statement may end [`GRACE`] after the first deadline.
    pub(crate) fn of(batch: &Batch, feed: &'f mut Feed) -> Self {
        let deadline = batch.deadline().unwrap_or_else(Instant::now);
        Self { connected_by: deadline, ended_by: deadline + GRACE, feed: Some(feed) }
    }

    /// What `connecting` gives, or [`Error::Unavailable`] if it takes too long.
    pub(super) async fn connection<T>(
        &mut self,
        connecting: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait(self.connected_by, connecting).await
    }

    /// What `statement` gives, or [`Error::Unavailable`] if it takes too long.
    pub(super) async fn statement<T>(
        &mut self,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait(self.ended_by.min(Instant::now() + QUERY_TIMEOUT), statement).await
    }

    async fn wait<T>(
        &mut self,
        until: Instant,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        pin!(work);
        loop {
            if let Ok(done) = timeout_at(until.min(Instant::now() + LOOK), &mut work).await {
                return done;
            }
            if let Some(feed) = &mut self.feed {
                feed.refuse_late();
            }
            if until <= Instant::now() {
                let waited = begun.elapsed().as_millis();
                return Err(Error::Unavailable(format!("no answer within {waited} ms")));
            }
        }
    }
}
