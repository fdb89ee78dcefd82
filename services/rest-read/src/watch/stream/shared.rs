//! What all streams of a process share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::watch::catch_up::CatchUps;
use crate::watch::hub::Hub;

/// What all streams of a process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) catch_ups: CatchUps,
    pub(crate) metrics: Metrics,
    /// Cancelled: the drain has begun.
    pub(crate) stop: CancellationToken,
    /// Each stream ends after a random part of this time from the beginning of the drain, so that clients do not all come back at once.
    pub(crate) end_within: Duration,
}
