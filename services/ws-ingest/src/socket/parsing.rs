//! Parses the messages of a socket. A message over 32 KiB is parsed on a blocking thread. Otherwise the other sockets on the same
//! worker of the runtime would wait for it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::task::AbortOnDropHandle;

use crate::protocol::{self, MessageLimits, RefusedRequest, UnknownMembers, WriteRequest};

/// A message of more bytes is parsed on a blocking thread. The worst messages take 90 ns for each byte (DECISIONS.md).
const PARSED_INLINE_MAX: usize = 32 * 1024;

/// The parsers on blocking threads. All sockets of a process share them.
#[derive(Debug, Clone)]
pub(crate) struct Parsers(Arc<Semaphore>);

type Parsed = Result<WriteRequest, RefusedRequest>;

/// Parses the messages of one socket.
pub(super) struct Parsing {
    unknown: UnknownMembers,
    /// The message that is being parsed, if there is one. While there is one, the socket is not read.
    offloaded: Option<OffloadedMessage>,
}

struct OffloadedMessage {
    deadline: Instant,
    /// A task of its own. The task of the socket may be busy, and would then keep a parser that it does not use.
    task: AbortOnDropHandle<Parsed>,
}

impl Parsers {
    /// Parsers for half of the processors, at least one. The other processors are for everything else.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// As many parsers as `permits` has.
    #[cfg(test)]
    pub(super) fn of(permits: &Arc<Semaphore>) -> Self {
        Self(Arc::clone(permits))
    }
}

impl Parsing {
    pub(super) fn new(unknown: UnknownMembers) -> Self {
        Self { unknown, offloaded: None }
    }

    /// Parses `text`, whose write has this deadline. Returns the request if that is done at once.
    ///
    /// # Panics
    /// If another message is being parsed: its request would be lost.
    pub(super) fn parse(
        &mut self,
        text: Utf8Bytes,
        deadline: Instant,
        limits: MessageLimits,
        parsers: &Parsers,
    ) -> Option<Parsed> {
        assert!(!self.is_busy(), "a message came while another one is parsed");
        let unknown = self.unknown;
        if text.len() <= PARSED_INLINE_MAX {
            return Some(protocol::parse(&text, limits, unknown, now));
        }
        let Parsers(permits) = parsers.clone();
        let task = tokio::spawn(async move {
            let permit = permits.acquire_owned().await.expect("nobody closes the semaphore");
            let parse = spawn_blocking(move || {
                let _permit = permit;
                protocol::parse(&text, limits, unknown, now)
            });
            output(parse.await).await
        });
        self.offloaded = Some(OffloadedMessage { deadline, task: AbortOnDropHandle::new(task) });
        None
    }

    pub(super) fn is_busy(&self) -> bool {
        self.offloaded.is_some()
    }

    /// Waits until the message is parsed; without a message it waits forever. Returns also the deadline of its write. Cancel-safe.
    pub(super) async fn done(&mut self) -> (Parsed, Instant) {
        let Some(OffloadedMessage { deadline, task }) = &mut self.offloaded else {
            return std::future::pending().await;
        };
        let (joined, deadline) = (task.await, *deadline);
        self.offloaded = None;
        (output(joined).await, deadline)
    }
}

/// The output of a task that has ended. Its panic goes on in the present task.
async fn output<T>(joined: Result<T, JoinError>) -> T {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(output) => output,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and the present task with it.
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}

/// Microseconds since 1970. A clock that shows a time before 1970 counts as 1970: every `expires_at` is then in the future, and
/// the clock of the database decides what has expired.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_busy_keeps_no_parser() {
        let parsers = Parsers::of(&Arc::new(Semaphore::new(1)));
        let offloaded = || {
            let limits = MessageLimits { key_bytes_max: 512, value_bytes_max: 1 << 20 };
            let mut parsing = Parsing::new(UnknownMembers::Ignored);
            let text = "[".repeat(PARSED_INLINE_MAX + 1);
            assert!(parsing.parse(text.into(), Instant::now(), limits, &parsers).is_none());
            assert!(parsing.done().now_or_never().is_none(), "it waits for a parser");
            parsing
        };
        let (mut first, _busy, mut last) = (offloaded(), offloaded(), offloaded());
        for parsing in [&mut first, &mut last] {
            let (parsed, _) = timeout(Duration::from_secs(5), parsing.done()).await.expect("it is its turn");
            assert!(parsed.is_err(), "it is no message");
        }
    }
}
