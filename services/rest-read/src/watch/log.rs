//! Reads the log of changes since a position.

use std::ops::ControlFlow;

use db::{Error, Key, LogSnapshot};

use crate::watch::position::{LaneSeq, Position};

/// Rows of the log in one statement.
const ROWS: usize = 64;

/// Calls `on_change` with the lane, the seq and the key of each change since `from`, lane by lane.
///
/// If `on_change` returns `Break`, no further statement is sent. `on_change` still gets the remaining rows of the present statement, and may
/// change its mind: what it returned last counts, and is returned.
pub(crate) async fn read(
    snapshot: &mut LogSnapshot<'_>,
    from: &Position,
    mut on_change: impl FnMut(u64, u64, Key) -> ControlFlow<()> + Send,
) -> Result<ControlFlow<()>, Error> {
    let moved: Vec<LaneSeq> = from.moved(snapshot.state()).collect();
    let mut flow = ControlFlow::Continue(());
    for LaneSeq { id: lane, seq, rev: _ } in moved {
        // After every part of the batch `seq`.
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
