//! The protocol that decides what became of a COMMIT: one attempt to commit a batch.
//!
//! Every transaction of a lane begins with its fence: it sets the lane's row in `writers` to the number of the batch, if a
//! lower number stands there. A batch keeps its number until all its writes are answered, so after a COMMIT whose answer was
//! lost the fence of the next attempt tells what became of it:
//!
//! - It matches: no earlier attempt was committed, nor will be. The batch is planned and written anew.
//! - It does not, a COMMIT was sent, and exactly this number stands there: that COMMIT was carried out.
//! - Anything else tells nothing. Nobody else knows the lane's id, so the row was lost, restored or changed by hand.

mod link;
mod patience;
mod transaction;

use tracing::{debug, warn};

pub(crate) use link::Link;
use link::{Begun, Failed};
pub(crate) use patience::Patience;
use transaction::Transaction;

use crate::Error;
use crate::batch::Batch;
use crate::engine::Engine;
use crate::feed::Feed;
use crate::plan::Plan;

/// Statements of writes that one transaction has at most, beside those a large batch takes: writes that come while one
/// is under way join the transaction with another.
const PARTS_MAX: usize = 4;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It is committed, or an earlier attempt turned out to be.
    Committed,
    /// Nothing of it was applied, or the next attempt's fence will tell what became of it.
    Again,
    /// Nothing of it was applied, because somebody else was in the way.
    Conflict,
    /// A COMMIT was sent, and the fence row does not tell what became of it.
    Lost,
}

/// What stands before COMMIT.
enum Prepared<S> {
    /// The writes of the batch are written, and each of them knows its outcome.
    Written(Transaction<S>),
    /// An earlier attempt is committed: the outcomes that it found are those of the batch.
    AlreadyCommitted,
}

impl<E: Engine> Link<E> {
    /// One transaction: fence, state if needed, writes, COMMIT. Every outcome is known before COMMIT.
    ///
    /// What waits in `feed` joins the batch until its COMMIT is sent.
    pub(crate) async fn attempt(&mut self, batch: &mut Batch, feed: &mut Feed) -> Attempt {
        let transaction = match self.prepare(batch, feed).await {
            Ok(Prepared::Written(transaction)) => transaction,
            Ok(Prepared::AlreadyCommitted) => return Attempt::Committed,
            Err(ended) => return ended,
        };
        if batch.is_late() {
            // Who is late is answered first: to roll back takes time.
            batch.refuse_late(feed.refusal());
            self.roll_back(transaction, &mut Patience::of(batch, feed)).await;
            return Attempt::Again;
        }
        batch.send_commit();
        match self.commit(transaction, &mut Patience::of(batch, feed)).await {
            Ok(()) => Attempt::Committed,
            Err(error) => {
                // Whatever it says: an answer to COMMIT that is not OK is a lost answer.
                warn!(%error, lane = self.id(), "COMMIT got no answer; asking the fence");
                Attempt::Again
            }
        }
    }

    /// Everything before COMMIT.
    async fn prepare(&mut self, batch: &mut Batch, feed: &mut Feed) -> Result<Prepared<E::Session>, Attempt> {
        let mut transaction = match self.begin(batch.revs, &mut Patience::of(batch, feed)).await {
            Ok(Begun::Passed(transaction)) => transaction,
            Ok(Begun::Missed(found)) => return self.missed(batch, found),
            Err(Failed(error)) => return Err(self.failed(&error)),
        };
        // No earlier attempt of this batch was applied, nor ever will be.
        batch.void();
        feed.join(batch, 0);
        let mut written = 0;
        for part in 1.. {
            let plan = Plan::new(batch.writes_from(written));
            if plan.revs() > transaction.reserved() {
                batch.revs = plan.revs();
                self.roll_back(transaction, &mut Patience::of(batch, feed)).await;
                return Err(Attempt::Conflict);
            }
            match transaction.write(plan, &mut Patience::of(batch, feed)).await {
                Ok(settled) => batch.settle_from(written, settled),
                Err(error) => {
                    self.abandon(transaction, &error, &mut Patience::of(batch, feed)).await;
                    return Err(self.failed(&error));
                }
            }
            written = batch.len();
            if part < PARTS_MAX {
                feed.join(batch, written);
            }
            if batch.len() == written {
                break;
            }
        }
        Ok(Prepared::Written(transaction))
    }

    /// The fence matched no row. `found` is the number that stands there, if the row does.
    fn missed(&mut self, batch: &Batch, found: Option<u64>) -> Result<Prepared<E::Session>, Attempt> {
        if batch.commit_sent() && found == Some(self.seq()) {
            return Ok(Prepared::AlreadyCommitted);
        }
        warn!(
            lane = self.id(),
            expected = self.seq(),
            ?found,
            "the fence row was changed by somebody else; the lane goes on under a fresh id"
        );
        self.forget();
        Err(if batch.commit_sent() { Attempt::Lost } else { Attempt::Conflict })
    }

    /// How an attempt ends that met `error` before COMMIT.
    fn failed(&self, error: &Error) -> Attempt {
        match error {
            Error::Conflict(reason) => {
                debug!(lane = self.id(), reason, "conflict; the batch is tried again");
                Attempt::Conflict
            }
            Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_) => Attempt::Again,
        }
    }
}
