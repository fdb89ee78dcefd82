//! How a process ends: one signal passed to everyone, one tracker of who is not done, one deadline.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::process::terminal;

/// The stop signal of one process. Clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Wakes those who wait.
    token: CancellationToken,
    /// The same fact for those who ask on every request: the token takes a lock, this does not.
    begun: Arc<AtomicBool>,
    /// Tasks that outlive their HTTP connection: upgraded sockets.
    tracker: TaskTracker,
}

impl Stop {
    /// A signal that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the drain. Calling it again changes nothing.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether the drain has begun; cheap enough for every request.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Waits until the drain begins. May be dropped at any time.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// A token of one's own that is cancelled when the drain begins. A task that polls often waits on this one:
    /// `wait` would take a lock that all tasks share, on each poll.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// Where sockets that outlive their HTTP connection are spawned. The owner of the process closes it and waits.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// The first signal begins the drain; returns at the second one, which means "now".
    pub async fn on_signals(self, mut signals: Signals) {
        signals.next().await;
        tracing::info!("stopping");
        self.begin();
        signals.next().await;
    }
}

/// Says on stderr, in one line, why the process cannot go on. The exit code is 1.
pub fn failure(why: impl Display) -> ExitCode {
    terminal::say(why);
    ExitCode::FAILURE
}

/// SIGTERM and SIGINT, caught from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches the signals. Call it before anyone can know the ports, or an early signal kills the process.
    ///
    /// # Errors
    /// When the system refuses the handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and says which it was. May be dropped at any time.
    pub async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

/// Runs `work`, which serves until `stop` begins and then drains in order. Success if it ended by itself after
/// that; failure if it ended before, at a second signal, or `drain_timeout` after the drain began (`work` is
/// dropped then).
pub async fn run_until_stopped(
    stop: &Stop,
    signals: Signals,
    drain_timeout: Duration,
    work: impl Future<Output = ()>,
) -> ExitCode {
    let deadline = async {
        stop.wait().await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        () = work => {
            if stop.begun() {
                return ExitCode::SUCCESS;
            }
            tracing::error!("the service ended without having been told to");
        }
        () = stop.clone().on_signals(signals) => tracing::error!("second signal: stopping without draining"),
        () = deadline => tracing::error!(?drain_timeout, "the drain took too long: stopping"),
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ExitCode` has no equality; its debug form has.
    fn same(left: ExitCode, right: ExitCode) -> bool {
        format!("{left:?}") == format!("{right:?}")
    }

    fn signals() -> Signals {
        Signals::listen().expect("signal handlers can be installed")
    }

    #[tokio::test]
    async fn everyone_learns_of_the_stop() {
        let stop = Stop::new();
        let (other, token) = (stop.clone(), stop.token());
        assert!(!other.begun() && !token.is_cancelled());
        stop.begin();
        other.wait().await;
        assert!(other.begun() && token.is_cancelled());
    }

    #[tokio::test]
    async fn a_finished_drain_is_a_success() {
        let stop = Stop::new();
        let work = async {
            stop.begin();
            stop.wait().await;
        };
        let code = run_until_stopped(&stop, signals(), Duration::from_mins(1), work).await;
        assert!(same(code, ExitCode::SUCCESS));
    }

    #[tokio::test]
    async fn work_that_ends_before_the_stop_is_a_failure() {
        let code = run_until_stopped(&Stop::new(), signals(), Duration::ZERO, async {}).await;
        assert!(same(code, ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn a_drain_past_its_deadline_is_a_failure() {
        let stop = Stop::new();
        stop.begin();
        let work = std::future::pending();
        let code = run_until_stopped(&stop, signals(), Duration::from_millis(1), work).await;
        assert!(same(code, ExitCode::FAILURE));
    }
}
