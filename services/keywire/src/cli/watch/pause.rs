//! The pauses before the next connection, which grow while the connection fails (backoff).

use std::time::Duration;

use rand::RngExt as _;

/// The first pause, unless the server has asked for another one.
const PAUSE_DEFAULT: Duration = Duration::from_secs(2);

/// The shortest and the longest pause.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long to wait before the next connection. Pauses after the first one are random, so that clients do not all come back at once.
#[derive(Debug)]
pub(super) struct Pause {
    /// The first pause: what the server has asked for in `retry`, which is random already.
    retry: Duration,
    /// The number of pauses since the stream was lost.
    count: u32,
}

impl Default for Pause {
    fn default() -> Self {
        Self { retry: PAUSE_DEFAULT, count: 0 }
    }
}

impl Pause {
    /// The server asks for this pause.
    pub(super) fn ask(&mut self, retry: Duration) {
        self.retry = retry.clamp(PAUSE_MIN, PAUSE_MAX);
    }

    /// The stream is live: the next pause is the first one again.
    pub(super) fn end(&mut self) {
        self.count = 0;
    }

    /// The next pause. The first one is what the server asked for. The limit of each further one is twice that of the one before, at most
    /// [`PAUSE_MAX`], and the pause is between a half of it and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.count).unwrap_or(u32::MAX);
        let pause = self.retry.saturating_mul(factor).min(PAUSE_MAX);
        let is_first = self.count == 0;
        self.count = self.count.saturating_add(1);
        if is_first { pause } else { pause.mul_f64(rand::rng().random_range(0.5..=1.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_the_server_asks_for_and_grows_to_its_limit() {
        let mut pause = Pause::default();
        for retry in [100, 1000] {
            pause.ask(Duration::from_millis(retry));
            assert_eq!(pause.next(), Duration::from_millis(retry));
            let second = pause.next().as_millis();
            assert!((u128::from(retry)..=u128::from(2 * retry)).contains(&second), "{second}");
            for _ in 0..100 {
                let next = pause.next();
                assert!(next <= PAUSE_MAX, "{next:?}");
            }
            let late = pause.next();
            assert!(late >= PAUSE_MAX / 2, "{late:?}");
            pause.end();
        }
        pause.ask(Duration::ZERO);
        assert_eq!(pause.next(), PAUSE_MIN);
        pause.end();
        pause.ask(Duration::from_hours(1));
        assert_eq!(pause.next(), PAUSE_MAX);
    }
}
