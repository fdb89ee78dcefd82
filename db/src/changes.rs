//! The log of changes: which keys each batch wrote, in the order of the batches of each lane. It has no values.
//!
//! A lane that logs its changes adds the keys of a batch to the table `changes`, in the transaction of the batch. The transactions of one lane
//! come one after another. So whoever has read the log of a lane up to a seq has missed nothing before it. There is no order between lanes.
//!
//! A seq without a row is a batch that applied nothing. The sweeper removes rows, and says so in the same transaction: it raises
//! [`LogState::floor`] if all of them are too old, and otherwise leaves the last of them as a marker, see [`LanePosition::removed`]. The floor
//! alone would not do for young rows: their time says little about who has read them already.

pub(crate) mod keys;

use std::time::Duration;

/// No transaction lasts this long, in microseconds. So the time of a change in the log is less than this before its COMMIT. The sweeper and
/// whoever reads the log both go by it.
pub const TRANSACTION_MICROS_MAX: u64 = 10 * 60 * 1_000_000;

/// The state of the log of changes and of every lane, in one snapshot or at one poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The random id of the store. `migrate --restored` replaces it. Cursors from before are void then.
    pub store_id: u64,
    /// How long changes are kept at least: what the writer that started last has stored. Zero: changes are not logged. `None`: no writer has
    /// started since the log exists.
    pub retention: Option<Duration>,
    /// Changes that were written up to this instant may have been removed because they were too old. In microseconds since 1970. It is 0 if no
    /// change was removed for this reason.
    pub floor: u64,
    /// The store clock before the snapshot was taken. Microseconds since 1970.
    pub read_at: u64,
    /// The instant at which the snapshot judges what has expired: the later one of `read_at` and the largest `rev` of a lane.
    pub now: u64,
    /// Every lane that has a fence row, in the order of the ids.
    pub lanes: Vec<LanePosition>,
}

/// The fence row of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePosition {
    /// The random id of the lane.
    pub id: u64,
    /// The last batch that the lane committed. 0: none yet.
    pub seq: u64,
    /// The last revision that the lane reserved: about the time of its last batch, in microseconds since 1970. Without a batch, when the row
    /// was added or last stored the time.
    pub rev: u64,
    /// Whether the lane logs its changes.
    pub logs: bool,
    /// The changes of the batches up to this one were removed early: the log was too large, or was switched off. 0: of none, or so long ago
    /// that [`LogState::floor`] says it.
    pub removed: u64,
}
