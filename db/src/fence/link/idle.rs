//! What a lane does with its connection between batches.

use std::time::Duration;

use tokio::time::Instant;

use super::{BeginError, FenceAnswer, Link, LinkState};
use crate::engine::{WriteEngine, WriteSession};
use crate::error::Error;
use crate::fence::limits::TimeLimits;

/// A lane that wrote nothing for this long takes a new id, long before the sweeper deletes its row (after a day).
const ROW_AGE_MAX: Duration = Duration::from_hours(6);

/// The same for a lane that has committed nothing under its id: the sweeper deletes its row after an hour.
const UNUSED_AGE_MAX: Duration = Duration::from_mins(30);

impl<E: WriteEngine> Link<E> {
    /// Ends the transaction of a fence that was passed ahead, if there is such a transaction.
    pub(crate) async fn release_fence(&mut self, limits: &mut TimeLimits<'_>) {
        match std::mem::replace(&mut self.connection, LinkState::Closed) {
            LinkState::Fenced(transaction) => self.roll_back_session(transaction.session, None, limits).await,
            other @ (LinkState::Closed | LinkState::Opening(_) | LinkState::Idle(_)) => {
                self.connection = other;
            }
        }
    }

    /// Stores the time if the connection is idle, which also finds out whether the connection still works.
    pub(crate) async fn touch(&mut self, limits: &mut TimeLimits<'_>) {
        // The statement may commit, and a fence that is committed without its batch protects nothing.
        self.release_fence(limits).await;
        let is_unused = self.unused_since.is_some_and(|made| made.elapsed() > UNUSED_AGE_MAX);
        if is_unused || self.last_fence.elapsed() > ROW_AGE_MAX {
            return self.renew_id();
        }
        if self.is_locked_out {
            return self.try_fence(limits).await;
        }
        match std::mem::replace(&mut self.connection, LinkState::Closed) {
            LinkState::Idle(mut session) => match limits.statement(session.touch(self.id)).await {
                Ok(()) => {
                    self.connection = LinkState::Idle(session);
                    if self.refused.take().is_some() {
                        self.state.set(Ok(()));
                    }
                    self.state.outages.succeeded();
                }
                Err(error) => {
                    self.roll_back_session(session, Some(&error), limits).await;
                    if !self.is_open() {
                        // The old connection may lock the old row, and its COMMIT may be on its way. No batch needs that row.
                        self.renew_id();
                    }
                }
            },
            other @ (LinkState::Closed | LinkState::Opening(_) | LinkState::Fenced(_)) => {
                self.connection = other;
            }
        }
    }

    /// After a fence that met a lock of somebody else: only a fence that is passed shows that the lock is gone.
    async fn try_fence(&mut self, limits: &mut TimeLimits<'_>) {
        match self.fence(0, limits).await {
            Ok(FenceAnswer::Passed(transaction)) => {
                self.roll_back_session(transaction.session, None, limits).await;
            }
            Ok(FenceAnswer::Missed(_)) => self.renew_id(),
            // `fence` has noted the reason.
            Err(BeginError(_)) => {}
        }
    }

    /// Notes that the database refused to write. Until it writes again, the lane is not ready.
    pub(super) fn note_refusal(&mut self, error: &Error) {
        self.refused = Some(Instant::now());
        self.state.set(Err(error.to_string()));
        self.state.outages.failed("the database refuses to write", error);
    }

    /// Logs that a COMMIT got no answer. The next attempt asks the fence whether it was applied.
    pub(in crate::fence) fn note_lost_answer(&self, error: &Error) {
        self.state.outages.failed("COMMIT got no answer; asking the fence", error);
    }

    /// After a refusal, a touch tells whether the database writes again. Between batches too, because a lane that is never idle would
    /// not find out.
    pub(crate) async fn look_again(&mut self, limits: &mut TimeLimits<'_>) {
        if self.refused.is_some_and(|refused| refused.elapsed() >= E::IDLE_MAX) {
            self.touch(limits).await;
        }
    }
}
