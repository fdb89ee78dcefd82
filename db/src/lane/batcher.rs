//! Builds batches from the queue of a lane, and refuses writes that have too little time left.

use std::time::Duration;

use tokio::time::Instant;

use crate::entry::Refusal;
use crate::lane::batch::{Batch, GRACE};
use crate::lane::config::WriterConfig;
use crate::lane::receiver::{QueueReceiver, ReceiveResult};
use crate::lane::state::LaneState;

/// The queue of a lane and the limits of a batch.
#[derive(Debug)]
pub(crate) struct Batcher {
    receiver: QueueReceiver,
    config: WriterConfig,
    state: LaneState,
    /// The expected time of a commit: the time of the last committed batch, but at most [`GRACE`] and at most half of
    /// `op_timeout`. A write with less time left is refused before it costs a rollback.
    commit_time: Duration,
    /// Writes refused in the queue since the last [`Batcher::take_refused`].
    refused: usize,
}

impl Batcher {
    pub(crate) fn new(receiver: QueueReceiver, config: WriterConfig, state: LaneState) -> Self {
        Self { receiver, config, state, commit_time: Duration::ZERO, refused: 0 }
    }

    /// Whether the queue is empty.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for a write. Cancel-safe. Only while the queue is empty.
    pub(crate) async fn receive(&mut self) -> ReceiveResult {
        self.receiver.receive().await
    }

    /// A batch of waiting writes, up to its limits. Refuses writes with too little time left, so the batch may be empty.
    pub(crate) fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        self.receiver.begin_batch();
        self.fill(&mut batch, usize::MAX);
        batch
    }

    /// Moves up to `most` waiting writes into `batch`, within its limits. Refuses those with too little time left.
    fn fill(&mut self, batch: &mut Batch, most: usize) {
        let late = Instant::now() + self.commit_time;
        for _ in 0..most {
            let Some(next) = self.receiver.peek() else { return };
            let is_late = next.deadline <= late;
            if !is_late && !batch.has_room(&next.write, &self.config) {
                return;
            }
            let next = self.receiver.next().expect("the queue was just seen to have a write");
            if is_late {
                self.refused += 1;
                next.finish(Err(self.refusal()));
            } else {
                batch.add(next);
            }
        }
    }

    /// Refuses the waiting writes whose deadline has passed.
    pub(crate) fn refuse_late(&mut self) {
        let refusal = self.refusal();
        for late in self.receiver.take_late(Instant::now()) {
            self.refused += 1;
            late.finish(Err(refusal));
        }
    }

    /// How many writes were refused in the queue since the last call.
    pub(crate) fn take_refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    /// The first deadline of the waiting writes in the buffers.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.receiver.deadline()
    }

    /// Adds waiting writes to a batch in its first attempt, before its COMMIT is sent. Stops at the first write that shares a key
    /// with the first `written` writes of the batch, because a plan cannot build on rows of its own transaction.
    pub(crate) fn add_waiting(&mut self, batch: &mut Batch, written: usize) {
        if batch.is_first_attempt() && !batch.is_full(&self.config) && !self.receiver.is_empty() {
            let most = self.receiver.count_before_keys_of(&batch.pending()[..written]);
            self.fill(batch, most);
        }
    }

    /// Learns from a batch that was committed after `elapsed`, which includes retries.
    pub(crate) fn committed(&mut self, elapsed: Duration) {
        // At most half of `op_timeout`: with all of it, one slow commit would make the lane refuse every new write, and
        // there would never be another commit to learn from.
        self.commit_time = elapsed.min(GRACE).min(self.config.op_timeout / 2);
    }

    /// The refusal of a write that cannot be committed in time.
    pub(crate) fn refusal(&self) -> Refusal {
        self.state.refusal()
    }
}

#[cfg(test)]
mod tests;
