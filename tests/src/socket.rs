//! A client of the write socket.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::patience::{PATIENCE, within};

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// How a socket was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The server sent a Close, with this code if it has one.
    Code(Option<u16>),
    /// The connection broke without a Close.
    Broken,
}

/// Why a socket was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// The handshake was answered 503 with `Retry-After`.
    Later,
    /// Anything else.
    Failed(String),
}

impl From<Error> for NotOpened {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(response)
                if response.status() == 503 && response.headers().contains_key("retry-after") =>
            {
                Self::Later
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Socket {
    /// Opens `/ws/storage/` at `addr`.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::open_at(addr, "/ws/storage/").await
    }

    /// Opens `path` at `addr`.
    pub async fn open_at(addr: SocketAddr, path: &str) -> Self {
        Self::try_open_at(addr, path)
            .await
            .unwrap_or_else(|error| panic!("no socket at {addr}{path}: {error}"))
    }

    /// Opens `/ws/storage/` at `addr` with `token`.
    pub async fn open_as(addr: SocketAddr, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        let opened = Self::try_open_with(addr, "/ws/storage/", &[("authorization", &bearer)]).await;
        opened.unwrap_or_else(|error| panic!("no socket at {addr} with a token: {error}"))
    }

    /// Opens `/ws/storage/` at `addr` and speaks `subprotocol`.
    pub async fn open_speaking(addr: SocketAddr, subprotocol: &str) -> Self {
        let headers = [("sec-websocket-protocol", subprotocol)];
        let opened = Self::try_open_with(addr, "/ws/storage/", &headers).await;
        opened.unwrap_or_else(|error| panic!("no socket at {addr} that speaks {subprotocol}: {error}"))
    }

    /// Opens `path` at `addr`.
    ///
    /// # Errors
    /// The socket was not opened.
    pub async fn try_open_at(addr: SocketAddr, path: &str) -> Result<Self, Error> {
        Self::try_open_with(addr, path, &[]).await
    }

    async fn try_open_with(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{addr}{path}").into_client_request()?;
        for &(name, value) in headers {
            request.headers_mut().insert(name, value.try_into()?);
        }
        let open = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            tokio_tungstenite::client_async(request, stream).await
        };
        let (stream, _) = within("opening a socket", PATIENCE, open).await?;
        Ok(Self { stream })
    }

    /// Sends one text message.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends one message of any kind.
    pub async fn send_message(&mut self, message: Message) {
        let sent = within("sending", PATIENCE, self.stream.send(message)).await;
        sent.unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends text messages with one flush.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn try_send_all(&mut self, texts: impl IntoIterator<Item = String>) -> Result<(), Closed> {
        let send = async {
            for text in texts {
                self.stream.feed(Message::text(text)).await?;
            }
            self.stream.flush().await
        };
        within("sending", PATIENCE, send).await.map_err(|_| Closed::Broken)
    }

    /// The next reply.
    ///
    /// # Errors
    /// The socket was closed.
    pub async fn try_next(&mut self) -> Result<String, Closed> {
        within("a reply", PATIENCE, self.reply()).await
    }

    /// The next reply, without a time limit. Cancel-safe.
    ///
    /// # Errors
    /// The socket was closed.
    pub async fn reply(&mut self) -> Result<String, Closed> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(Closed::Code(frame.map(|frame| frame.code.into())));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => (),
                Some(Ok(other)) => panic!("the server sends only text: {other:?}"),
                Some(Err(_)) | None => return Err(Closed::Broken),
            }
        }
    }

    /// The next reply.
    pub async fn next(&mut self) -> String {
        self.try_next().await.unwrap_or_else(|closed| panic!("no reply: {closed:?}"))
    }

    /// Sends `text` and waits for its reply.
    pub async fn ask(&mut self, text: impl Into<String>) -> String {
        self.send(text).await;
        self.next().await
    }

    /// Writes `value` under `key` and waits for the reply.
    pub async fn set(&mut self, key: &str, value: &str) -> String {
        self.ask(write(key, value)).await
    }

    /// Sends `text`, which must be refused with `status` and `code`, in the form of the contract. Returns the reply.
    pub async fn refuses(&mut self, text: impl Into<String>, status: u16, code: &str) -> String {
        let text = text.into();
        let sent: String = text.chars().take(200).collect();
        let reply = self.ask(text).await;
        let problem: Value = serde_json::from_str(&reply).expect("a reply is JSON");
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&status.into(), &code.into()),
            "{sent} was answered {reply}"
        );
        let start = format!("{{\"message\":{},\"status\":{status},\"code\":\"{code}\"", problem["message"]);
        assert!(reply.starts_with(&start), "members in the contract's order: {reply}");
        assert!(problem["message"].as_str().is_some_and(|m| !m.is_empty()), "{reply}");
        reply
    }

    /// Waits for the server's Close. A reply before it is a failure.
    pub async fn closed(&mut self) -> Closed {
        match self.try_next().await {
            Err(closed) => closed,
            Ok(reply) => panic!("a reply instead of a close: {reply}"),
        }
    }

    /// Closes the socket.
    pub async fn close(mut self) {
        // The server may have closed it already.
        drop(within("closing", PATIENCE, self.stream.close(None)).await);
    }
}

/// The message that writes `value` under `key`.
#[must_use]
pub fn write(key: &str, value: &str) -> String {
    json!({ "key": key, "value": value }).to_string()
}

/// The `rev` in `reply`.
#[must_use]
pub fn rev(reply: &str) -> u64 {
    let reply: Value = serde_json::from_str(reply).expect("a reply is JSON");
    reply["rev"].as_u64().unwrap_or_else(|| panic!("no rev in {reply}"))
}
