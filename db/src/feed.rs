//! What waits for a lane gets into batches, unless it is too late for that.

use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, GRACE};
use crate::inbox::Inbox;
use crate::writer::{LaneState, Refusal, WriterConfig};

/// The inbox of a lane, and the limits within which a batch takes writes out of it.
#[derive(Debug)]
pub(crate) struct Feed {
    inbox: Inbox,
    config: WriterConfig,
    state: LaneState,
    /// What the last commit took: a write with less time left is refused before it costs a rollback.
    lead: Duration,
    /// Writes that were refused while they waited, since that was asked last.
    refused: usize,
}

impl Feed {
    pub(crate) fn new(inbox: Inbox, config: WriterConfig, state: LaneState) -> Self {
        Self { inbox, config, state, lead: Duration::ZERO, refused: 0 }
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.inbox.is_empty()
    }

    /// Waits until writes come; 0 = none ever will. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> usize {
        self.inbox.receive().await
    }

    /// A batch of what has come, up to its limits. Writes that are late are refused.
    pub(crate) fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        self.inbox.begin_batch();
        self.fill(&mut batch, usize::MAX);
        batch
    }

    /// Moves up to `most` of what waits into `batch`, within its limits. A write that is late is refused instead.
    fn fill(&mut self, batch: &mut Batch, most: usize) {
        let late = Instant::now() + self.lead;
        for _ in 0..most {
            let Some(next) = self.inbox.peek() else { return };
            let is_late = next.deadline <= late;
            if !is_late && !batch.has_room(&next.write, &self.config) {
                return;
            }
            let next = self.inbox.next().expect("it was there");
            if is_late {
                self.refused += 1;
                next.answer(Err(self.refusal()));
            } else {
                batch.add(next);
            }
        }
    }

    /// Refuses what has fallen due while it waited.
    pub(crate) fn refuse_late(&mut self) {
        let refusal = self.refusal();
        for late in self.inbox.take_late(Instant::now()) {
            self.refused += 1;
            late.answer(Err(refusal));
        }
    }

    /// How many writes were refused while they waited, since that was asked last.
    pub(crate) fn refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    /// The first deadline of what waits.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.inbox.deadline()
    }

    /// What came while the database was busy travels along, in a first attempt: the COMMIT is yet to come. Up to the
    /// first write of a key that is among the first `written` of the batch, because a plan never builds on rows of its own
    /// transaction.
    pub(crate) fn join(&mut self, batch: &mut Batch, written: usize) {
        if batch.is_first_attempt() && !batch.is_full(&self.config) && !self.inbox.is_empty() {
            let most = self.inbox.apart_from(&batch.pending()[..written]);
            self.fill(batch, most);
        }
    }

    /// A batch was committed within `elapsed`.
    pub(crate) fn committed(&mut self, elapsed: Duration) {
        // Never more than half of the time that a write has: if one commit were enough to refuse every write, however
        // fresh, there would never be another commit.
        self.lead = elapsed.min(GRACE).min(self.config.op_timeout / 2);
    }

    /// What a write that must not wait any longer is told.
    pub(crate) fn refusal(&self) -> Refusal {
        self.state.refusal()
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
