//! How a lane gets its connection and its id.

use futures_util::FutureExt as _;
use rand::{Rng, RngExt as _};
use tokio::time::Instant;

use super::{Link, LinkState};
use crate::engine::{WriteEngine, WriteSession as _};
use crate::error::Error;
use crate::fence::limits::TimeLimits;
use crate::timeouts::{CONNECT_TIMEOUT, within};

impl<E: WriteEngine> Link<E> {
    /// Opens a connection unless there is one. Logs a failure. Dropping the future does not end the connection attempt.
    pub(crate) async fn open(&mut self, limits: &mut TimeLimits<'_>) -> Result<(), Error> {
        if matches!(self.connection, LinkState::Closed) {
            let registers = (!self.is_registered).then_some(self.logs);
            let connecting = connect(self.engine.clone(), self.id, registers).boxed();
            self.connection = LinkState::Opening(connecting);
        }
        let connected = match &mut self.connection {
            LinkState::Opening(connecting) => limits.connection(async { Ok(connecting.await) }).await?,
            LinkState::Closed | LinkState::Idle(_) | LinkState::Fenced(_) => return Ok(()),
        };
        match connected {
            Ok(session) => {
                self.connection = LinkState::Idle(session);
                self.is_registered = true;
                self.refused = None;
                self.state.set(Ok(()));
                self.state.outages.connected();
                Ok(())
            }
            Err(error) => {
                self.connection = LinkState::Closed;
                self.state.set(Err(error.to_string()));
                self.state.outages.failed("no database connection; trying again", &error);
                Err(error)
            }
        }
    }

    /// Takes a new id and a new connection. The old row no longer matters to this lane.
    pub(in crate::fence) fn renew_id(&mut self) {
        (self.id, self.is_registered, self.seq) = (fresh_id(&mut self.random), false, 1);
        (self.connection, self.lock_holder) = (LinkState::Closed, None);
        (self.last_fence, self.unused_since) = (Instant::now(), Some(Instant::now()));
    }
}

/// Opens a connection, and registers the lane if `registers` says whether it logs its changes. Takes at most [`CONNECT_TIMEOUT`].
async fn connect<E: WriteEngine>(engine: E, lane: u64, registers: Option<bool>) -> Result<E::Session, Error> {
    within(CONNECT_TIMEOUT, async {
        let mut session = engine.open_session().await?;
        if let Some(logs) = registers {
            session.register(lane, logs).await?;
        }
        Ok(session)
    })
    .await
}

/// A random id, which no other lane has. It has 63 bits, to fit the signed column of `SQLite`.
pub(crate) fn fresh_id(random: &mut impl Rng) -> u64 {
    random.random::<u64>() >> 1
}
