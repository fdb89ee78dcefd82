//! What streams share, and how they begin.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::watch::catch_up::CatchUps;
use crate::watch::hub::Hub;
use crate::watch::position::{Position, ResetReason};

/// What all streams of a process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) catch_ups: CatchUps,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    /// After the beginning of the drain, streams end within this time, each at another instant, so that their clients do not all come
    /// back at once.
    pub(crate) end_within: Duration,
}

/// How a stream begins.
#[derive(Debug, Clone)]
pub(crate) enum Opening {
    /// With everything that is there.
    Snapshot,
    /// With what changes from now on.
    Now,
    /// With what has changed since the position of a cursor.
    After(Arc<Position>),
    /// With everything that is there, because the cursor cannot be honoured.
    Reset(ResetReason),
}
