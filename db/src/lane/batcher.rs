//! Builds batches from the queue of a lane, and refuses writes that have too little time left. Writes that would fail or delay the
//! others of their batch are set aside.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{debug, error};

use crate::entry::{Key, Refusal, Write};
use crate::error::Error;
use crate::lane::aside::SetAside;
use crate::lane::batch::{Batch, GRACE};
use crate::lane::config::WriterConfig;
use crate::lane::pending::PendingWrite;
use crate::lane::receiver::{QueueReceiver, ReceiveResult};
use crate::lane::state::LaneState;

/// The most keys of an atomic write in a log line.
const LOGGED_KEYS: usize = 3;

/// If an atomic write cannot be written, its keys are remembered, unless it has more keys than this: only one of them is at fault.
const UNWRITABLE_KEYS_MAX: usize = 16;

/// Writes that one lane has set aside may have `queue_bytes_max` divided by this.
const ASIDE_DIVISOR: u32 = 4;

/// The queue of a lane and the limits of a batch.
#[derive(Debug)]
pub(crate) struct Batcher {
    receiver: QueueReceiver,
    /// Writes that would fail or delay the others of their batch.
    aside: SetAside,
    /// Whether the last batch was a trial. Then the others have a turn: writes that fail must not keep them waiting.
    was_trial: bool,
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
        let aside =
            SetAside::new(config.queue_ops_max.get(), (config.queue_bytes_max / ASIDE_DIVISOR) as usize);
        Self { receiver, aside, was_trial: false, config, state, commit_time: Duration::ZERO, refused: 0 }
    }

    /// Whether the queue is empty. Writes may be set aside.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for a write. Cancel-safe. Only while the queue is empty. `is_connected`: the lane has a connection, so it can look at the
    /// keys for which writes are set aside.
    pub(crate) async fn receive(&mut self, is_connected: bool) -> ReceiveResult {
        let Some(due) = self.aside_due(is_connected) else { return self.receiver.receive().await };
        let received = async {
            match self.receiver.receive().await {
                ReceiveResult::Closed => std::future::pending().await,
                received @ (ReceiveResult::Writes | ReceiveResult::Due) => received,
            }
        };
        timeout_at(due, received).await.unwrap_or(ReceiveResult::Due)
    }

    /// Whether something is to be done now for the writes that are set aside: look at their keys, or refuse them.
    pub(crate) fn is_aside_due(&self, is_connected: bool) -> bool {
        self.aside_due(is_connected).is_some_and(|due| due <= Instant::now())
    }

    fn aside_due(&self, is_connected: bool) -> Option<Instant> {
        if self.aside.has_no_writes() {
            return None;
        }
        self.aside.deadline().into_iter().chain(self.aside.next_try().filter(|_| is_connected)).min()
    }

    /// A batch of waiting writes, up to its limits: in turn from the queue, and a trial of writes that failed. Refuses writes with too
    /// little time left, so the batch may be empty.
    pub(crate) fn next_batch(&mut self) -> Batch {
        self.refuse_late_aside();
        if std::mem::take(&mut self.was_trial) {
            let batch = self.queued_batch();
            if batch.len() > 0 || self.must_check() {
                return batch;
            }
        }
        let trial = self.trial();
        self.was_trial = trial.len() > 0;
        if self.was_trial { trial } else { self.queued_batch() }
    }

    fn queued_batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        self.add_free(&mut batch);
        self.receiver.begin_batch();
        self.fill(&mut batch, usize::MAX);
        batch
    }

    /// A batch of writes that are to be tried by themselves, which nothing joins.
    fn trial(&mut self) -> Batch {
        let mut batch = Batch::new();
        if !self.aside.has_no_writes() {
            batch.close();
            for pending in self.aside.take_trial(batch.room(&self.config)) {
                batch.add(pending);
            }
        }
        batch
    }

    /// Moves up to `most` waiting writes into `batch`, within its limits. Refuses those with too little time left, and sets aside
    /// those whose key is held.
    fn fill(&mut self, batch: &mut Batch, most: usize) {
        let late = Instant::now() + self.commit_time;
        for _ in 0..most {
            let Some(next) = self.receiver.peek() else { return };
            let stays_out = next.deadline <= late || self.aside.holds(&next.write);
            if !stays_out && !batch.has_room(&next.write, &self.config) {
                return;
            }
            let next = self.receiver.next().expect("the queue was just seen to have a write");
            if next.deadline <= late {
                self.refuse(next);
            } else {
                self.add_or_set_aside(batch, next);
            }
        }
    }

    fn add_or_set_aside(&mut self, batch: &mut Batch, pending: PendingWrite) {
        if !self.aside.holds(&pending.write) {
            batch.add(pending);
        } else if self.aside.has_room(&pending.write) {
            self.aside.push(pending);
        } else {
            // Writes that are set aside must not use up the room of all others.
            self.refuse(pending);
        }
    }

    /// Adds the writes that were set aside and whose keys are free again.
    pub(crate) fn add_free(&mut self, batch: &mut Batch) {
        if self.aside.is_empty() || batch.is_closed() {
            return;
        }
        let late = Instant::now() + self.commit_time;
        for pending in self.aside.take_free(batch.room(&self.config)) {
            if pending.deadline <= late { self.refuse(pending) } else { batch.add(pending) }
        }
    }

    fn refuse(&mut self, pending: PendingWrite) {
        self.refused += 1;
        pending.finish(Err(self.refusal()));
    }

    /// Refuses the writes that wait, here or set aside, and whose deadline has passed.
    pub(crate) fn refuse_late(&mut self) {
        for late in self.receiver.take_late(Instant::now()) {
            self.refuse(late);
        }
        self.refuse_late_aside();
    }

    /// Refuses the writes that are set aside and whose deadline has passed.
    pub(crate) fn refuse_late_aside(&mut self) {
        if self.aside.is_empty() {
            return;
        }
        for late in self.aside.take_late(Instant::now()) {
            self.refuse(late);
        }
    }

    /// How many writes were refused in the queue since the last call.
    pub(crate) fn take_refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    /// The first deadline of the waiting writes in the buffers.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.aside.deadline().into_iter().chain(self.receiver.deadline()).min()
    }

    /// Adds waiting writes to a batch in its first attempt, before its COMMIT is sent. Stops at the first write that shares a key
    /// with the first `written` writes of the batch, because a plan cannot build on rows of its own transaction.
    pub(crate) fn add_waiting(&mut self, batch: &mut Batch, written: usize) {
        if batch.is_first_attempt()
            && !batch.is_closed()
            && !batch.is_full(&self.config)
            && !self.receiver.is_empty()
        {
            let most = self.receiver.count_before_keys_of(&batch.pending()[..written]);
            self.fill(batch, most);
        }
    }

    /// Whether an attempt must look for locks of somebody else before it writes.
    pub(crate) fn checks_locks(&self) -> bool {
        self.aside.checks_locks()
    }

    /// Notes that an attempt met a lock of somebody else.
    pub(crate) fn check_locks_for_a_while(&mut self) {
        self.aside.check_locks_for_a_while();
    }

    /// The keys whose locks an attempt must look for, in order: those of `batch`, and in a first attempt those for which writes are
    /// set aside. (To look at these in later attempts, too, could keep a batch from ever being committed.)
    pub(crate) fn keys_to_check(&self, batch: &Batch) -> Vec<Key> {
        let may_join = batch.is_first_attempt() && !batch.is_closed();
        let due = if may_join { self.aside.keys_to_check() } else { Vec::new() };
        batch.keys().into_iter().chain(&due).collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    /// Whether an attempt without writes makes sense, to look at the keys for which writes are set aside.
    pub(crate) fn must_check(&self) -> bool {
        !self.aside.is_empty() && !self.aside.keys_to_check().is_empty()
    }

    /// Notes which of the `checked` keys somebody else has `locked`. Sets the writes of `batch` aside that name one of those.
    pub(crate) fn note_locks(&mut self, batch: &mut Batch, checked: &[Key], locked: &[Key]) {
        let locked: HashSet<&Key> = locked.iter().collect();
        for key in checked {
            if locked.contains(key) { self.aside.found_locked(key) } else { self.aside.found_unlocked(key) }
        }
        let names_one = |write: &Write| write.ops().iter().any(|op| locked.contains(&op.key));
        self.aside.put_back(batch.take_out(names_one));
    }

    /// A key of `batch` keeps all from being committed, one of `suspects` if it has some of those: sets their writes aside, otherwise
    /// all writes, to be tried in smaller parts. Returns whether there was more than one unit, see [`Batch::units`].
    pub(crate) fn take_apart(&mut self, batch: &mut Batch, suspects: &HashSet<Key>) -> bool {
        let units = batch.units();
        if units < 2 {
            return false;
        }
        let mut taken = batch.take_out(|write| write.ops().iter().any(|op| suspects.contains(&op.key)));
        if taken.is_empty() {
            taken = batch.take_out(|_| true);
        }
        let trial = ((units - batch.units()) / 2).max(1);
        self.aside.suspect(taken, trial);
        true
    }

    /// The only key or the only write of `batch` waits for a lock that no look at the keys shows: sets it aside.
    pub(crate) fn set_waiting_aside(&mut self, batch: &mut Batch) {
        let first = batch.writes_from(0).next().expect("a batch without writes waits for no lock");
        self.aside.met_lock_wait(&first.ops()[0].key);
        self.aside.put_back(batch.take_out(|_| true));
    }

    /// The only key or the only write of `batch` cannot be written: refuses it, and sets later writes of the key aside for a while.
    pub(crate) fn refuse_unwritable(&mut self, batch: &mut Batch, reason: &Error) {
        let keys = batch.keys();
        let logged = keys.iter().take(LOGGED_KEYS).map(|key| key.for_log()).collect::<Vec<_>>().join(", ");
        let remembered = if keys.len() > UNWRITABLE_KEYS_MAX { 0 } else { keys.len() };
        let is_news = keys.iter().take(remembered).filter(|key| self.aside.found_unwritable(key)).count() > 0;
        if is_news || remembered == 0 {
            error!(error = %reason, keys = logged, "the database cannot write these keys; the write is refused with 500");
        } else {
            debug!(error = %reason, keys = logged, "the database still cannot write these keys; the write is refused with 500");
        }
        batch.refuse_all(Refusal::Unwritable);
    }

    /// Notes that nothing keeps the keys of `batch` from being written.
    pub(crate) fn note_committed(&mut self, batch: &Batch) {
        if batch.is_closed() {
            self.aside.trial_passed();
        }
        if !self.aside.is_empty() {
            for key in batch.keys() {
                self.aside.found_free(key);
            }
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
