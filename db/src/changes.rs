//! The log of changes: which keys each batch wrote, in the order of each lane.
//!
//! A lane that logs writes the keys of a batch into the table `changes`, in the transaction of the batch. The transactions of one lane
//! come one after another, so whoever knows the log of a lane up to a seq misses nothing before it. There is no order between lanes.

pub(crate) mod keys;

use std::time::Duration;

/// What a snapshot, or a poll, knows of the log of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The random id of the store. A restored store gets another one.
    pub store_id: u64,
    /// How long changes are kept. Zero: changes are not logged. `None`: no writer has started yet that could log.
    pub retention: Option<Duration>,
    /// Changes up to this instant may be removed. Microseconds since 1970.
    pub floor: u64,
    /// The store clock before the snapshot was taken. Microseconds since 1970.
    pub read_at: u64,
    /// The instant at which the snapshot judges what has expired: not before `read_at`, and not before the `rev` of any lane.
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
    /// The last revision that the lane reserved: about the time of its last batch, in microseconds since 1970.
    pub rev: u64,
    /// Whether the lane logs its changes.
    pub logs: bool,
}
