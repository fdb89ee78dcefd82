//! The state that all sockets of a process share.

use std::sync::Arc;

use chassis::process::stop::Stop;
use db::Writer;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::protocol::MessageLimits;

/// The state that all sockets of a process share.
#[derive(Debug)]
pub(crate) struct SocketContext {
    pub(crate) writer: Writer,
    pub(crate) limits: MessageLimits,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
    /// One permit per byte of large messages, see [`super::inbound`].
    pub(crate) message_budget: Arc<Semaphore>,
    /// Whether spans are exported; only then is one made for each message.
    pub(crate) exports_spans: bool,
}
