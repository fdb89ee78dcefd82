//! The log lines about a database that fails. All connections of a process share them: each cause is logged at most once a minute,
//! however many connections fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::error::Error;

/// The shortest time between two lines about the same cause.
const PAUSE: Duration = Duration::from_mins(1);

/// The most causes that have lines of their own. The text of an error may contain a key or a number, so there may be any number of causes.
const CAUSES_MAX: usize = 32;

/// The log of the outages of one database, for all connections that read or for all that write. Clones share the log.
#[derive(Debug, Clone)]
pub struct OutageLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `read` or `write`: a database whose disk is full still reads, so each has a log of its own.
    role: &'static str,
    /// Whether a failure was logged, and the database has not worked since then.
    is_logged: AtomicBool,
    /// Whether the first connection was logged.
    has_connected: AtomicBool,
    causes: Mutex<Causes>,
}

#[derive(Debug, Default)]
struct Causes {
    by_text: HashMap<String, CauseLines>,
    /// The lines about all causes that have no place in `by_text`.
    others: CauseLines,
    /// Failures since the database last worked.
    failures: u64,
}

/// The lines about one cause.
#[derive(Debug, Default)]
struct CauseLines {
    /// When a line was last logged.
    logged: Option<Instant>,
    /// Lines left out since then.
    left_out: u64,
}

impl OutageLog {
    pub(crate) fn new(role: &'static str) -> Self {
        let (is_logged, has_connected) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Shared { role, is_logged, has_connected, causes: Mutex::default() }))
    }

    /// A connection failed: `what` happened, and why.
    pub fn failed(&self, what: &'static str, error: &Error) {
        let (role, text) = (self.0.role, error.to_string());
        let Some(left_out) = self.admit(&text) else { return debug!(role, error = text, "{what}") };
        // Signed, because the span exporter writes unsigned numbers as text.
        let left_out = left_out.cast_signed();
        self.0.is_logged.store(true, Ordering::Relaxed);
        match error {
            Error::Internal(_) => error!(role, error = text, left_out, "{what}"),
            Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_) => {
                warn!(role, error = text, left_out, "{what}");
            }
        }
    }

    /// A connection was opened.
    pub fn connected(&self) {
        let role = self.0.role;
        if self.0.has_connected.swap(true, Ordering::Relaxed) {
            debug!(role, "database connected");
        } else {
            info!(role, "database connected");
        }
    }

    /// A statement succeeded. Ends the outage, if there was one. Cheap enough for every statement.
    pub fn succeeded(&self) {
        // Written only after an outage, because all connections read this flag.
        if self.0.is_logged.load(Ordering::Relaxed) && self.0.is_logged.swap(false, Ordering::Relaxed) {
            let failures = std::mem::take(&mut self.causes().failures);
            info!(role = self.0.role, failures = failures.cast_signed(), "the database works again");
        }
    }

    /// `Some(n)`: log the line, and name in it the `n` lines left out since the last one about `cause`.
    fn admit(&self, cause: &str) -> Option<u64> {
        let now = Instant::now();
        let mut causes = self.causes();
        causes.failures += 1;
        if !causes.by_text.contains_key(cause) {
            // A cause without a line for a minute needs no place, unless it has lines to report.
            causes.by_text.retain(|_, lines| lines.left_out > 0 || lines.is_recent(now));
            if causes.by_text.len() < CAUSES_MAX {
                causes.by_text.insert(cause.to_owned(), CauseLines::default());
            }
        }
        let Causes { by_text, others, .. } = &mut *causes;
        let lines = by_text.get_mut(cause).unwrap_or(others);
        if lines.is_recent(now) {
            lines.left_out += 1;
            return None;
        }
        lines.logged = Some(now);
        Some(std::mem::take(&mut lines.left_out))
    }

    fn causes(&self) -> std::sync::MutexGuard<'_, Causes> {
        self.0.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CauseLines {
    fn is_recent(&self, now: Instant) -> bool {
        self.logged.is_some_and(|logged| now.duration_since(logged) < PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_cause_has_one_line_a_minute() {
        let log = OutageLog::new("test");
        assert_eq!(
            [log.admit("a"), log.admit("a"), log.admit("b"), log.admit("a")],
            [Some(0), None, Some(0), None]
        );
        tokio::time::advance(PAUSE).await;
        assert_eq!([log.admit("a"), log.admit("b"), log.admit("b")], [Some(2), Some(0), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn further_causes_share_one_line() {
        let log = OutageLog::new("test");
        let lines = (0..1000).filter(|number| log.admit(&number.to_string()).is_some()).count();
        assert_eq!(lines, CAUSES_MAX + 1);
        assert_eq!(log.causes().by_text.len(), CAUSES_MAX);
        tokio::time::advance(PAUSE).await;
        assert_eq!(log.admit("new"), Some(0), "old causes make room");
    }

    #[test]
    fn the_end_of_an_outage_is_logged_only_if_its_beginning_was() {
        let log = OutageLog::new("test");
        let is_logged = || log.0.is_logged.load(Ordering::Relaxed);
        log.failed("it fails", &Error::Unavailable("a".into()));
        assert!(is_logged());
        log.succeeded();
        assert!(!is_logged());
        log.failed("it fails", &Error::Unavailable("a".into()));
        assert!(!is_logged(), "the line was left out");
        assert_eq!(log.causes().failures, 1);
    }
}
