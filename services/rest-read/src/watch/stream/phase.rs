//! How a stream begins, and what it does then.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::watch::catch_up::Part;
use crate::watch::position::{Position, ResetReason};

/// How a stream begins.
#[derive(Debug, Clone)]
pub(crate) enum Opening {
    /// With a snapshot: what the watched keys hold now.
    Snapshot,
    /// With what changes from now on.
    Now,
    /// With what has changed since the position of a cursor.
    After(Arc<Position>),
    /// With `reset` and a snapshot, because the cursor cannot be used.
    Reset(ResetReason),
}

/// What a stream does.
#[derive(Debug)]
pub(super) enum Phase {
    /// It has sent nothing yet.
    Opening(Opening),
    /// It sends the parts of a catch-up.
    CatchingUp(mpsc::Receiver<Part>),
    /// It sends what the rounds bring.
    Following,
}
