//! The limits of a writer, and what it reports of each batch.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of the write side of one process.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Lanes of single ops; each has a queue, a task and a connection of its own, and atomic writes have one more.
    /// `SQLite` has one writer: always one for both.
    pub lanes: NonZeroUsize,
    /// The most ops of one transaction. The first write of a batch is taken however many ops it has.
    pub batch_ops_max: NonZeroUsize,
    /// The most bytes of one transaction, see [`crate::Write::bytes`]. The first write of a batch is taken whatever its size.
    pub batch_bytes_max: usize,
    /// The most writes that wait in each of the two channels of a lane, for the front and the back of its queue.
    pub queue_ops_max: NonZeroUsize,
    /// The most bytes of writes that are not answered yet, in the whole process, see [`crate::Write::bytes`]. At least one write must fit.
    pub queue_bytes_max: u32,
    /// The time limit of a write, from its receipt. Its answer comes at most a second later, if a statement is under way.
    pub op_timeout: Duration,
}

/// What is told of each settled batch, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Writes that were acknowledged.
    pub committed: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Attempts, including those that got no connection.
    pub attempts: u32,
    /// From taking the batch out of the queue to its last answer.
    pub elapsed: Duration,
}
