//! The write socket: the endpoint that accepts a WebSocket handshake and serves the socket.

pub(crate) mod budget;
mod closing;
mod codec;
mod connection;
pub(crate) mod context;
#[cfg(feature = "echo")]
mod echo;
#[cfg(test)]
mod fixture;
mod frames;
mod handshake;
mod inbound;
mod intake;
mod large;
pub(crate) mod parsing;
mod replies;
mod transport;

use std::sync::Arc;

use chassis::access::{Caller, SUBPROTOCOL, speaks_subprotocol};
use chassis::problem::{Code, Problem};
use http::{StatusCode, header};
use poem::{Endpoint, FromRequest as _, Request, Response};

use self::context::SocketContext;
use crate::protocol::UnknownMembers;

/// Accepts a WebSocket handshake and serves the socket in a task of its own.
pub(crate) struct SocketEndpoint {
    context: Arc<SocketContext>,
    purpose: Purpose,
}

/// How the messages of a socket are treated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// They are writes.
    Write,
    /// They are sent back.
    #[cfg(feature = "echo")]
    Echo,
}

impl SocketEndpoint {
    pub(crate) fn new(context: Arc<SocketContext>, purpose: Purpose) -> Self {
        Self { context, purpose }
    }
}

impl Endpoint for SocketEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let caller = Caller::from_request_without_body(&request).await?;
        let accepted = handshake::accept(request.method(), request.version(), request.headers());
        let Some(headers) = accepted else { return Ok(upgrade_required()) };
        let speaks_subprotocol = speaks_subprotocol(request.headers());
        let Ok(upgrade) = request.take_upgrade() else { return Ok(upgrade_required()) };

        // With the subprotocol, a client sends only members that it documents.
        let unknown = if speaks_subprotocol { UnknownMembers::Refused } else { UnknownMembers::Ignored };
        let (context, purpose) = (Arc::clone(&self.context), self.purpose);
        self.context.stop.tracker().spawn(async move {
            match upgrade.await {
                Ok(io) => match purpose {
                    Purpose::Write => connection::serve(io, caller, unknown, context).await,
                    #[cfg(feature = "echo")]
                    Purpose::Echo => echo::serve(io, context).await,
                },
                Err(error) => tracing::debug!(%error, "the client disconnected during the handshake"),
            }
        });
        let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).finish();
        *response.headers_mut() = headers;
        if speaks_subprotocol {
            let name = header::HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(response)
    }
}

fn upgrade_required() -> Response {
    let message = "this is a WebSocket: connect with an Upgrade to websocket, version 13";
    let mut response = Problem::new(Code::UpgradeRequired, message).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    response
}
