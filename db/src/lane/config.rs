//! The limits of a writer, and what it reports of each batch.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of the write side of one process.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// The number of lanes for single ops. Each lane has a queue, a task and a connection of its own. Atomic writes have one lane
    /// more. `SQLite` always has one lane for all writes.
    pub lanes: NonZeroUsize,
    /// The most ops of one transaction. The first write of a batch is taken however many ops it has.
    pub batch_ops_max: NonZeroUsize,
    /// The most bytes of one transaction, see [`crate::Write::bytes`]. The first write of a batch is taken whatever its size.
    pub batch_bytes_max: usize,
    /// The most writes in each of the two channels of a lane, one for each priority.
    pub queue_ops_max: NonZeroUsize,
    /// The most bytes of all writes in the process that have no outcome yet, see [`crate::Write::bytes`]. Each lane has an equal share,
    /// which only a write that is larger than it may exceed. (A lane itself gets its share here.)
    pub queue_bytes_max: u32,
    /// Whether each transaction logs which keys it wrote, see [`crate::LogState`].
    pub logs_changes: bool,
    /// The time limit of a write, from its receipt. While a statement is running, the outcome may come up to a second later.
    pub op_timeout: Duration,
}

/// The report of a finished batch, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Writes that were acknowledged.
    pub committed: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Attempts, including those that got no connection.
    pub attempts: u32,
    /// Keys that its transaction added to the log of changes.
    pub logged: usize,
    /// From taking the batch out of the queue to its last outcome.
    pub elapsed: Duration,
}
