//! How far the client of a connection has come. What may end the connection depends on it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// The stages of a connection.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Stage {
    /// No complete head of a request has come. The connection may have to make room for another one.
    Silent,
    /// It had to make room.
    Evicted,
    /// The head of a request has come.
    Asked,
    /// The client has closed its sending side after a request.
    Left,
    /// The connection is a WebSocket.
    Upgraded,
}

/// The stage of one connection. The accept loop and the task of the connection share it.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: AtomicU8,
    stopping: CancellationToken,
}

/// The connection had to make room for another one before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("closed to make room for another connection")]
pub(crate) struct Evicted;

impl Progress {
    /// A connection without a request. `stopping` is a token of this connection alone: an eviction cancels it, and so does a stop.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self { stage: AtomicU8::new(Stage::Silent as u8), stopping }
    }

    /// Cancelled when the connection has to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// A request has come. From the first one on, the connection cannot be evicted.
    ///
    /// # Errors
    /// The connection was evicted: the request must not be carried out.
    pub(crate) fn ask(&self) -> Result<(), Evicted> {
        if !self.change(Stage::Silent, Stage::Asked) && self.is(Stage::Evicted) {
            return Err(Evicted);
        }
        Ok(())
    }

    /// Ends a connection without a request. False if a request has come, or if the connection was evicted before.
    pub(crate) fn evict(&self) -> bool {
        let evicted = self.change(Stage::Silent, Stage::Evicted);
        if evicted {
            self.stopping.cancel();
        }
        evicted
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.is(Stage::Silent)
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.is(Stage::Evicted)
    }

    /// Waits until the connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.stopping.cancelled().await;
        if !self.is_evicted() {
            // The drain began. No connection is accepted any more, so none is evicted.
            std::future::pending::<()>().await;
        }
    }

    /// The client has closed its sending side. True if a request came before: its response may still be under way.
    pub(crate) fn leave(&self) -> bool {
        self.change(Stage::Asked, Stage::Left)
    }

    /// Whether the client has closed its sending side after a request.
    pub(crate) fn has_left(&self) -> bool {
        self.is(Stage::Left)
    }

    /// The request under way makes the connection a WebSocket.
    pub(crate) fn upgrade(&self) {
        self.stage.store(Stage::Upgraded as u8, Ordering::Relaxed);
    }

    fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// Goes from the stage `from` to the stage `to`. False if the stage is another one.
    fn change(&self, from: Stage, to: Stage) -> bool {
        self.stage.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_evicted_only_before_its_first_request() {
        let silent = Progress::new(CancellationToken::new());
        assert!(silent.evict() && silent.is_evicted() && silent.stopping().is_cancelled());
        assert_eq!(silent.ask(), Err(Evicted), "its request comes too late");

        let asked = Progress::new(CancellationToken::new());
        assert_eq!((asked.ask(), asked.ask()), (Ok(()), Ok(())));
        assert!(!asked.evict());
        asked.upgrade();
        assert!(!asked.evict() && !asked.stopping().is_cancelled());
    }

    #[test]
    fn only_a_client_that_has_asked_may_wait_for_a_response_after_it_has_left() {
        let progress = Progress::new(CancellationToken::new());
        assert!(!progress.leave(), "nothing was asked");
        assert_eq!(progress.ask(), Ok(()));
        assert!(progress.leave() && progress.has_left());
        progress.upgrade();
        assert!(!progress.has_left() && !progress.leave(), "a WebSocket ends with its stream");
    }
}
