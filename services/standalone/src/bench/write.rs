//! The writing half of a client: a socket whose answers come in the order of its messages.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::tally::{Answered, Kind, Outcome};

/// Where the socket is.
const PATH: &str = "/ws/storage/";

/// A socket and when each of its writes under way fell due.
#[derive(Debug)]
pub(super) struct Writer {
    socket: WebSocketStream<TcpStream>,
    under_way: VecDeque<Instant>,
    unflushed: bool,
}

impl Writer {
    pub(super) async fn connect(url: &Url) -> anyhow::Result<Self> {
        let stream = super::read::tcp(url).await?;
        let mut address = url.join(PATH)?;
        address.set_scheme("ws").map_err(|()| anyhow::anyhow!("a URL of no socket"))?;
        // One allocation per socket at once would be 128 KiB, which ten thousand of them feel.
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(32 * 1024);
        let (socket, _) = client_async_with_config(address.as_str(), stream, Some(config)).await?;
        Ok(Self { socket, under_way: VecDeque::new(), unflushed: false })
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Keys and values must need no escape in JSON.
    pub(super) async fn send(&mut self, key: &str, value: &str, due: Instant) -> anyhow::Result<()> {
        let text = [r#"{"key":""#, key, r#"","value":""#, value, r#""}"#].concat();
        self.socket.feed(Message::text(text)).await.context("the socket broke")?;
        self.under_way.push_back(due);
        self.unflushed = true;
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.unflushed) {
            self.socket.flush().await.context("the socket broke")?;
        }
        Ok(())
    }

    /// Waits for the next answer. Dropping the future loses none.
    pub(super) async fn answer(&mut self) -> anyhow::Result<Answered> {
        loop {
            let message = self.socket.next().await;
            if let Some(answered) = self.take(message)? {
                return Ok(answered);
            }
        }
    }

    /// The next answer, if it is there already.
    pub(super) fn try_answer(&mut self) -> anyhow::Result<Option<Answered>> {
        while !self.under_way.is_empty() {
            let Some(message) = self.socket.next().now_or_never() else { break };
            if let Some(answered) = self.take(message)? {
                return Ok(Some(answered));
            }
        }
        Ok(None)
    }

    fn take(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> anyhow::Result<Option<Answered>> {
        let message = message.context("the socket was closed")?.context("the socket broke")?;
        match message {
            Message::Text(text) => {
                let due = self.under_way.pop_front().context("an answer to nothing")?;
                let outcome = outcome(text.as_str())?;
                Ok(Some(Answered { kind: Kind::Write, took: due.elapsed(), outcome }))
            }
            Message::Close(frame) => match frame {
                Some(frame) => anyhow::bail!("the socket was closed: {} {}", frame.code, frame.reason),
                None => anyhow::bail!("the socket was closed"),
            },
            _ => Ok(None),
        }
    }
}

/// An answer that says 200 in its last member needs no parser.
fn outcome(text: &str) -> anyhow::Result<Outcome> {
    if text.ends_with(r#","status":200}"#) {
        return Ok(Outcome::Done);
    }
    let answer: serde_json::Value = serde_json::from_str(text).context("an answer that is not JSON")?;
    let code = answer["code"].as_str().with_context(|| format!("not an answer: {text}"))?;
    Ok(Outcome::Refused(code.to_owned()))
}
