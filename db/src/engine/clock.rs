//! Time in the unit of the columns: microseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// The clock of this machine, in microseconds since 1970.
///
/// Revisions and expiries are such numbers. While the clock is before 1970, nothing may be written: a tombstone, which expired in
/// 1970, would be live.
pub(crate) fn now() -> Result<u64, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.ok().and_then(|since| u64::try_from(since.as_micros()).ok());
    micros.ok_or_else(|| Error::NotReady("the clock of this machine is before 1970".into()))
}

/// `seconds` in microseconds.
pub(crate) fn micros(seconds: u64) -> Result<u64, Error> {
    let micros = seconds.checked_mul(1_000_000);
    micros.ok_or_else(|| Error::Internal(format!("{seconds} seconds do not fit a column").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_microseconds_since_1970() {
        let before = now().expect("it is later than 1970");
        assert!(before > 1_700_000_000_000_000, "{before} is before 2023");
        std::thread::sleep(std::time::Duration::from_millis(2));
        let passed = now().expect("it is later than 1970") - before;
        assert!((2_000..60_000_000).contains(&passed), "{passed} for two milliseconds");
    }

    #[test]
    fn a_time_to_live_that_fits_no_column_is_an_error() {
        assert_eq!(micros(3_153_600_000).ok(), Some(3_153_600_000_000_000));
        assert!(micros(u64::MAX / 1_000_000 + 1).is_err());
    }
}
