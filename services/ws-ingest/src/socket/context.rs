//! What all sockets of a process share.

use std::sync::Arc;

use chassis::process::stop::Stop;
use db::Writer;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::protocol::Limits;

/// What all sockets of a process share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) writer: Writer,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
    /// For larger messages.
    pub(crate) room: Arc<Semaphore>,
    /// Whether a span per message goes anywhere.
    pub(crate) spans: bool,
}
