//! A socket that sends every message back, with the same codec and the same limits, for a conformance suite. No release has it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;

use super::closing::Closing;
use super::codec;
use super::context::SocketContext;

/// Echoes every message until either side closes the socket.
pub(crate) async fn serve<S>(io: S, context: Arc<SocketContext>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut socket = codec::open(io, &context).await;
    let closing = loop {
        let sent = match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.send(message).await,
            // The library has prepared the pong that answers a ping; the flush sends it.
            Some(Ok(Message::Close(_))) => break Some(Closing::Theirs),
            Some(Ok(_)) => socket.flush().await,
            Some(Err(error)) => break Closing::of(&error, socket.get_ref().fault(), context.limits),
            None => break None,
        };
        if let Err(error) = sent {
            break Closing::of(&error, None, context.limits);
        }
    };
    if let Some(closing) = closing {
        closing.close(&mut socket).await;
    }
}
