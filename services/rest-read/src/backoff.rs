//! How long to wait before a connection is tried again.

use std::time::Duration;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A lost connection is opened again at once; after that the pause doubles.
pub(crate) fn backoff(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_MIN.saturating_mul(1 << (more - 2).min(10)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_second() {
        let millis = [0, 1, 2, 3, 4, 7, 40, u32::MAX].map(|failures| backoff(failures).as_millis());
        assert_eq!(millis, [0, 0, 50, 100, 200, 1000, 1000, 1000]);
    }
}
