//! A client of watches: reads the events of one stream, and checks the form of the stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::event::{Block, Event};
use crate::http::{HttpConnection, Response};
use crate::patience::{PATIENCE, within};

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct Watch {
    /// The response without its body.
    pub response: Response,
    /// How long a client waits before it comes back, in milliseconds.
    pub retry: u64,
    heard: mpsc::Receiver<(Instant, Heard)>,
    reading: JoinHandle<()>,
}

/// What was heard on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Event),
    /// A comment, which keeps the connection open.
    Comment,
    /// The end, after a complete event.
    End,
    /// The connection broke.
    Broken,
}

/// Why no stream was opened.
#[derive(Debug)]
pub enum NotWatching {
    /// Another status than 200.
    Refused(Response),
    /// The connection could not be opened, or broke.
    Broken(std::io::Error),
}

impl Watch {
    /// Opens `/watch` at `addr` with this query.
    pub async fn open(addr: SocketAddr, query: &str) -> Self {
        Self::open_with(addr, query, &[]).await
    }

    /// The same with these header lines.
    pub async fn open_with(addr: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let opened = Self::try_open(addr, query, headers).await;
        opened.unwrap_or_else(|error| panic!("no watch of {query} at {addr}: {error:?}"))
    }

    /// The same, with a cursor, as `EventSource` sends it.
    pub async fn resume(addr: SocketAddr, query: &str, cursor: &str) -> Self {
        Self::open_with(addr, query, &[("Last-Event-ID", cursor)]).await
    }

    /// The same with these header lines.
    ///
    /// # Errors
    /// There is no stream.
    pub async fn try_open(
        addr: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, NotWatching> {
        let mut connection = HttpConnection::try_open(addr).await.map_err(NotWatching::Broken)?;
        let target = format!("/watch{}{query}", if query.is_empty() { "" } else { "?" });
        let begun = connection.try_begin(&target, headers).await;
        let mut response = begun.map_err(NotWatching::Broken)?;
        if response.status != 200 {
            let body = within("a body", PATIENCE, connection.read_body(&mut response)).await;
            body.map_err(NotWatching::Broken)?;
            return Err(NotWatching::Refused(response));
        }
        // One at a time: a client that does not ask for events does not read them.
        let (found, mut heard) = mpsc::channel(1);
        let (first, retry) = tokio::sync::oneshot::channel();
        let reading = tokio::spawn(read(connection, first, found));
        match within("the first line", PATIENCE, retry).await {
            Ok(retry) => Ok(Self { response, retry, heard, reading }),
            Err(_) => match heard.recv().await {
                Some((_, Heard::End | Heard::Broken)) => {
                    Err(NotWatching::Broken(std::io::ErrorKind::UnexpectedEof.into()))
                }
                // The task has panicked with the reason.
                other => panic!("a stream begins with `retry`: {other:?}"),
            },
        }
    }

    /// What is heard next, and when, without a time limit. Cancel-safe.
    pub async fn hear(&mut self) -> (Instant, Heard) {
        self.heard.recv().await.expect("the form of the stream is right")
    }

    /// The next event.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn try_next(&mut self) -> Result<Event, Heard> {
        self.next_within(PATIENCE).await
    }

    /// The next event, which must come within `limit`.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Event, Heard> {
        let next = async {
            loop {
                match self.hear().await.1 {
                    Heard::Event(event) => return Ok(event),
                    Heard::Comment => {}
                    end @ (Heard::End | Heard::Broken) => return Err(end),
                }
            }
        };
        within("an event", limit, next).await
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        self.try_next().await.unwrap_or_else(|end| panic!("no event: {end:?}"))
    }

    /// The events of the next round that brings any, and the cursor after them. A stream without changes sends a cursor each 10 s, which
    /// is not waited for.
    pub async fn round(&mut self) -> (Vec<Event>, String) {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            match event.cursor() {
                Some(cursor) if !events.is_empty() => {
                    let cursor = cursor.to_owned();
                    return (events, cursor);
                }
                Some(_) => {}
                None => events.push(event),
            }
        }
    }

    /// Reads until `ready`. Returns the events before it, and the cursor.
    pub async fn ready(&mut self) -> (Vec<Event>, String) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Event::Ready(cursor) => return (events, cursor),
                event => events.push(event),
            }
        }
    }

    /// Waits for the end of the stream. Returns the events before it.
    pub async fn ended(&mut self, limit: Duration) -> (Vec<Event>, Heard) {
        let mut events = Vec::new();
        let end = async {
            loop {
                match self.hear().await.1 {
                    Heard::Event(event) => events.push(event),
                    Heard::Comment => {}
                    end @ (Heard::End | Heard::Broken) => return end,
                }
            }
        };
        let end = within("the end of the stream", limit, end).await;
        (events, end)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads a stream to its end.
async fn read(
    mut connection: HttpConnection,
    first: tokio::sync::oneshot::Sender<u64>,
    found: mpsc::Sender<(Instant, Heard)>,
) {
    let (mut unread, mut first) = (Vec::new(), Some(first));
    let end = loop {
        match connection.chunk().await {
            Ok(Some(chunk)) => unread.extend_from_slice(&chunk),
            Ok(None) => {
                assert!(unread.is_empty(), "an event is broken off: {:?}", String::from_utf8_lossy(&unread));
                break Heard::End;
            }
            Err(_) => break Heard::Broken,
        }
        let now = Instant::now();
        while let Some(len) = unread.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = unread.drain(..len + 2).take(len).collect();
            let block = String::from_utf8(block).expect("a stream is UTF-8");
            let block = Block::parse(&block).unwrap_or_else(|error| panic!("{error}"));
            let heard = match (block, first.take()) {
                (Block::Retry(millis), Some(first)) => {
                    first.send(millis).expect("somebody waits for the first line");
                    continue;
                }
                (Block::Event(event), None) => Heard::Event(event),
                (Block::Comment, None) => Heard::Comment,
                (other, _) => panic!("{other:?}: `retry` comes first, and only there"),
            };
            if found.send((now, heard)).await.is_err() {
                return;
            }
        }
    };
    drop(found.send((Instant::now(), end)).await);
}
