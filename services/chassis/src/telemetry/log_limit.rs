//! A limit for a log line that clients or a broken dependency could repeat without bound.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two such lines.
const PAUSE: Duration = Duration::from_mins(1);

/// Allows one kind of log line at most once a minute, and counts the lines that are left out.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// When a line was last logged.
    logged: Option<Instant>,
    /// Lines left out since then.
    left_out: u64,
}

impl LogLimit {
    /// `Some(n)`: log the line, and name in it the `n` lines left out since the last one. `None`: leave this line out.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.logged.is_some_and(|logged| now.saturating_duration_since(logged) < PAUSE) {
            lines.left_out += 1;
            return None;
        }
        lines.logged = Some(now);
        Some(std::mem::take(&mut lines.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_is_logged_and_says_how_many_were_left_out() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let at = |seconds| limit.admit_at(start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(0), at(1), at(59)], [None; 3]);
        assert_eq!(at(60), Some(3));
        assert_eq!(at(119), None);
        assert_eq!([at(500), at(501)], [Some(1), None]);
    }
}
