//! The stop of a process: one signal that all parts see, one tracker of the sockets that are open, one deadline.

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

/// The stop signal of one process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Wakes the tasks that wait for the signal.
    token: CancellationToken,
    /// The same information without a lock, for code that checks it on every request.
    begun: Arc<AtomicBool>,
    /// Tasks of upgraded sockets, which outlive their HTTP connection.
    tracker: TaskTracker,
}

impl Stop {
    /// A signal for a stop that has not begun.
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

    /// Waits until the drain begins. Cancel-safe.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// A new token that is cancelled when the drain begins, for a task that polls often: [`Stop::wait`] takes a lock shared by
    /// all tasks on each poll.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// The tracker on which tasks of upgraded sockets are spawned. The process waits for them before it closes the service.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// The first signal begins the drain. Returns at the second signal, when the process must stop at once. A second SIGHUP is ignored,
    /// because a closed terminal may send SIGHUP twice.
    pub async fn on_signals(self, mut signals: Signals) {
        signals.next().await;
        tracing::info!("stopping");
        self.begin();
        while signals.next().await == SignalKind::hangup() {}
    }
}

/// Prints on stderr, in one line, why the process cannot go on. The exit code is 1.
pub fn failure(why: impl Display) -> ExitCode {
    terminal::say_last(why);
    ExitCode::FAILURE
}

/// Catches SIGTERM, SIGINT and SIGHUP as long as it exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None`: the process was started with SIGHUP ignored, as by `nohup`.
    hangup: Option<Signal>,
    /// Never received. A write past the largest size of a file (`ulimit -f`) then fails instead of ending the process.
    _file_size: Signal,
}

impl Signals {
    /// Catches the signals. Call it before the ports are announced: until then a signal kills the process.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            () = received(self.hangup.as_mut()) => SignalKind::hangup(),
        }
    }
}

/// Waits for `signal`; for ever if it is not caught. Cancel-safe.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored. False where the system has no `/proc`.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

/// Whether `status`, the text of `/proc/self/status`, has SIGHUP in its mask of ignored signals.
fn is_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}

/// Runs `work`, which serves until `stop` begins and then finishes the accepted work.
///
/// The exit code is 0 if `work` ends after the stop began. The exit code is 1 in three cases: `work` ends before the stop begins;
/// a second signal comes; `drain_timeout` passes after the stop began. In the last two cases `work` is dropped.
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
            tracing::error!("the service ended without a stop signal");
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

    #[test]
    fn the_mask_of_ignored_signals_tells_about_sighup() {
        assert!(is_hangup_ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!is_hangup_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hangup_ignored(""));
    }

    #[tokio::test]
    async fn all_clones_see_the_stop() {
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
