//! The log of damaged rows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use db::DamagedRow;
use tokio::time::Instant;

/// How often a damaged row is logged. Clients may ask for damaged rows again and again.
const INTERVAL: Duration = Duration::from_mins(1);

/// Logs damaged rows, at most one a minute.
#[derive(Debug)]
pub(crate) struct DamageLog {
    /// What met the rows: "get", "list" or "export".
    reader: &'static str,
    logged: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    last: Option<Instant>,
    /// Damaged rows since then.
    skipped: u64,
}

impl DamageLog {
    pub(crate) fn new(reader: &'static str) -> Self {
        Self { reader, logged: Mutex::default() }
    }

    /// Logs `row`, or counts it for the next line.
    pub(crate) fn add(&self, row: &DamagedRow) {
        let Some(skipped) = self.due(Instant::now()) else { return };
        tracing::error!(reader = self.reader, skipped, "{row}");
    }

    /// How many rows were skipped since the last line, if another line is due at `now`.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            logged.skipped += 1;
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_logged_once_a_minute_however_often_it_is_read() {
        let (log, start) = (DamageLog::new("get"), Instant::now());
        assert_eq!(log.due(start), Some(0));
        for seconds in 1..60 {
            assert_eq!(log.due(start + Duration::from_secs(seconds)), None);
        }
        assert_eq!(log.due(start + INTERVAL), Some(59));
        assert_eq!(log.due(start + INTERVAL), None);
    }
}
