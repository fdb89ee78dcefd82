//! The WebSocket library, within the limits of a message.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::context::Context;
use super::inbound::Watched;
use crate::protocol::Limits;

/// Bytes of replies that are sent together.
const WRITE_BUFFER: usize = 16 * 1024;

/// The socket on an upgraded connection, within the limits of a message.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    context: &Context,
) -> WebSocketStream<Watched<S>> {
    let Context { limits, room, .. } = context;
    socket(Watched::new(io, limits.message_bytes_max(), Arc::clone(room)), *limits).await
}

/// The same on a stream that is watched already.
pub(super) async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
    io: Watched<S>,
    limits: Limits,
) -> WebSocketStream<Watched<S>> {
    let limit = limits.message_bytes_max();
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + limits.reply_bytes_max())
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}
