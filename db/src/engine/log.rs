//! Makes the state of the log of changes, and its keys, from the columns that an engine has read.

use std::time::Duration;

use crate::changes::keys::unpack;
use crate::changes::{LanePosition, LogState};
use crate::entry::Key;
use crate::error::Error;

/// The columns of the only row of the table `store`, see [`LogState`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreColumns {
    pub(crate) id: u64,
    /// In seconds.
    pub(crate) retention: Option<u64>,
    pub(crate) floor: u64,
}

/// The primary key of a row of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogRow {
    pub(crate) lane: u64,
    pub(crate) seq: u64,
    pub(crate) part: u16,
}

/// The state of the log. `lanes` are in any order. `read_at` is a reading of the store clock before `store` and `lanes` were read.
///
/// Expiry must not be judged by a later clock than `read_at` and the revisions of the lanes. A later clock could say that a key has expired,
/// although a commit that the snapshot does not show has put the expiry off in time.
pub(crate) fn state(
    store: Option<StoreColumns>,
    mut lanes: Vec<LanePosition>,
    read_at: u64,
) -> Result<LogState, Error> {
    let Some(StoreColumns { id: store_id, retention, floor }) = store else {
        return Err(Error::Internal("the table `store` has lost its only row".into()));
    };
    let retention = retention.map(Duration::from_secs);
    lanes.sort_unstable_by_key(|lane| lane.id);
    let now = lanes.iter().map(|lane| lane.rev).fold(read_at, u64::max);
    Ok(LogState { store_id, retention, floor, read_at, now, lanes })
}

impl LogRow {
    /// Calls `on_key` for each key in `ks`, the keys of this row.
    pub(crate) fn keys(self, ks: &[u8], on_key: &mut impl FnMut(u64, Key)) -> Result<(), Error> {
        for key in unpack(ks) {
            on_key(self.seq, key.ok_or_else(|| self.damaged())?);
        }
        Ok(())
    }

    fn damaged(self) -> Error {
        let Self { lane, seq, part } = self;
        let row =
            format!("the row of the table `changes` with lane = {lane} and seq = {seq} and part = {part}");
        Error::Internal(format!("the keys in {row} are damaged").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_judged_by_the_clock_before_the_snapshot_or_by_the_latest_revision_in_it() {
        let store = Some(StoreColumns { id: 1, retention: Some(60), floor: 4 });
        let lane = |id, rev| LanePosition { id, seq: 1, rev, logs: true, removed: 0 };
        for (read_at, now) in [(99, 100), (100, 100), (101, 101)] {
            let state = state(store, vec![lane(9, 100), lane(7, 90)], read_at).expect("there is a row");
            assert_eq!((state.read_at, state.now), (read_at, now));
            assert_eq!(state.lanes, [lane(7, 90), lane(9, 100)], "in the order of the ids");
        }
        assert!(state(None, Vec::new(), 1).is_err(), "nobody knows the id of the store");
    }
}
