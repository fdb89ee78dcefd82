//! Reads the log of changes from a snapshot.

use std::ops::ControlFlow;

use db::{Error, Key, LogSnapshot};

use crate::watch::position::{LaneSeq, Position};

/// Rows of the log in one statement.
const ROWS: usize = 64;

/// Calls `on_change` with the lane, the seq and the key of each change since `from`, lane by lane. After `on_change` has returned `Break`,
/// the rest of its statement is still given, and then nothing more. Returns whether that happened.
pub(crate) async fn read(
    snapshot: &mut LogSnapshot<'_>,
    from: &Position,
    mut on_change: impl FnMut(u64, u64, Key) -> ControlFlow<()> + Send,
) -> Result<ControlFlow<()>, Error> {
    let moved: Vec<LaneSeq> = from.moved(snapshot.state()).collect();
    let mut flow = ControlFlow::Continue(());
    for LaneSeq { id: lane, seq, rev: _ } in moved {
        // Every part of the batch `seq` is known.
        let mut after = (seq, u16::MAX);
        while let Some(last) =
            snapshot.changes(lane, after, ROWS, |seq, key| flow = on_change(lane, seq, key)).await?
        {
            if flow.is_break() {
                return Ok(flow);
            }
            after = last;
        }
    }
    Ok(flow)
}
