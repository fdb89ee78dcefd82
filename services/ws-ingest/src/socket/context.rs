//! The state that all sockets of a process share.

use std::sync::Arc;

use super::budget::MessageBudgets;
use super::parsing::Parsers;
use crate::metrics::Metrics;
use crate::protocol::MessageLimits;
use chassis::process::stop::Stop;
use db::Writer;

/// The state that all sockets of a process share.
#[derive(Debug)]
pub(crate) struct SocketContext {
    pub(crate) writer: Writer,
    pub(crate) limits: MessageLimits,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
    /// The memory for large messages.
    pub(crate) message_budgets: Arc<MessageBudgets>,
    pub(crate) parsers: Parsers,
    /// Whether spans are exported; only then is one made for each message.
    pub(crate) exports_spans: bool,
}
