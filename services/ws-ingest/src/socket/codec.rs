//! The WebSocket library, configured for our limits.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::context::SocketContext;
use super::inbound::WatchedStream;
use crate::protocol::MessageLimits;

/// Replies are collected up to this many bytes before they are sent.
const WRITE_BUFFER: usize = 16 * 1024;

/// Opens the server side of a socket on an upgraded connection.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    context: &SocketContext,
) -> WebSocketStream<WatchedStream<S>> {
    let SocketContext { limits, message_budgets, .. } = context;
    let watched = WatchedStream::new(io, limits.message_bytes_max(), Arc::clone(message_budgets));
    open_watched(watched, *limits).await
}

/// Like [`open`], on a stream that is watched already. Its next byte must be the first byte of a frame.
pub(super) async fn open_watched<S: AsyncRead + AsyncWrite + Unpin>(
    io: WatchedStream<S>,
    limits: MessageLimits,
) -> WebSocketStream<WatchedStream<S>> {
    let limit = limits.message_bytes_max();
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + limits.reply_bytes_max())
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}
