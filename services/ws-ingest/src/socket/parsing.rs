//! Parses the messages of a socket: a short one at once, a long one in a thread of its own, so that it does not hold up the sockets
//! that share a worker of the runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::protocol::{self, MessageLimits, RefusedRequest, WriteRequest};

/// A message of more bytes is parsed in a thread of its own. The worst messages take 90 ns for each byte (DECISIONS.md).
const PARSED_AT_ONCE_MAX: usize = 32 * 1024;

/// The parsers of long messages. All sockets of a process share them.
#[derive(Debug, Clone)]
pub(crate) struct Parsers(Arc<Semaphore>);

type Parsed = Result<WriteRequest, RefusedRequest>;

/// The message that is being parsed, if there is one. While there is one, the socket is not read.
#[derive(Default)]
pub(super) struct Parsing(Option<Pin<Box<dyn Future<Output = Parsed> + Send>>>);

impl Parsers {
    /// Parsers for half of the processors, at least one. The other processors are for everything else.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Parsing {
    /// Parses `text`. Returns the request if that is done at once.
    ///
    /// # Panics
    /// If another message is being parsed: its request would be lost.
    pub(super) fn parse(
        &mut self,
        text: Utf8Bytes,
        limits: MessageLimits,
        parsers: &Parsers,
    ) -> Option<Parsed> {
        assert!(!self.is_busy(), "a message came while another one is parsed");
        if text.len() <= PARSED_AT_ONCE_MAX {
            return Some(protocol::parse(&text, limits, now));
        }
        let Parsers(permits) = parsers.clone();
        self.0 = Some(Box::pin(async move {
            let _permit = permits.acquire_owned().await.expect("nobody closes the semaphore");
            let parsed = spawn_blocking(move || protocol::parse(&text, limits, now)).await;
            match parsed.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(parsed) => parsed,
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(Err(_cancelled)) => std::future::pending().await,
            }
        }));
        None
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the message is parsed; without a message it waits forever. Cancel-safe.
    pub(super) async fn done(&mut self) -> Parsed {
        let Some(parsing) = &mut self.0 else { return std::future::pending().await };
        let parsed = parsing.await;
        self.0 = None;
        parsed
    }
}

/// Microseconds since 1970. A clock that shows a time before 1970 counts as 1970: every `expires_at` is then in the future, and
/// the clock of the database decides what has expired.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
