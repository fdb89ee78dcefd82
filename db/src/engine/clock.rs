//! Time in the unit of the columns: microseconds since 1970. [`StoreClock`] is a time that never goes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::{info, warn};

use crate::error::Error;

/// How old the last sample of the clocks may be when a statement needs the time.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(1);

/// A lane without writes stores the time if the time there is older than this, in microseconds. A little less than the
/// second at which an idle lane looks.
pub(crate) const STORED_AGE_MAX_MICROS: u64 = 900_000;

/// How long a connection may send nothing while another connection of the process samples the clocks. The server closes a connection
/// that sends nothing for 30 s (`wait_timeout`).
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(10);

/// If the stored time is further than this ahead of the clock, in microseconds, then the clock was set back. It cannot be a
/// lane that reserved revisions faster than time passes: no lane writes a million times a second.
const BEHIND_MAX_MICROS: u64 = 1_000_000;

/// The store clock: the present time for all statements, which never goes back. All connections of a process share it.
///
/// The clock of a database may be set back. Then entries that somebody saw expire would be back, and the next revision of a key could
/// be lower than its last. So no statement uses a time before [`StoreClock::floor`]: the stored time, and the last
/// reading of the clock plus the time that has passed since. If the clock is set back, time goes on from where it was.
#[derive(Debug, Clone)]
pub(crate) struct StoreClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    /// The latest time that this process knows from a clock, and when it was read.
    read: u64,
    read_at: Instant,
    /// The largest time that was found in the store. It may contain revisions that were reserved ahead of the clock, so it does not
    /// go on with the time that passes: each lane would add its revisions to those of the others.
    stored: u64,
    /// When the last sample of the clock and the stored time was asked for. `None`: not yet.
    sampled_at: Option<Instant>,
    /// Whether the clock was behind when it was last looked at.
    is_behind: bool,
}

impl StoreClock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let times = Times { read: 0, read_at: now, stored: 0, sampled_at: None, is_behind: false };
        Self(Arc::new(Mutex::new(times)))
    }

    /// The earliest time that a statement may use as the present time.
    pub(crate) fn floor(&self) -> u64 {
        self.with(|times| times.floor(Instant::now()))
    }

    /// The same. `None` if the last sample is too old.
    pub(crate) fn fresh_floor(&self) -> Option<u64> {
        self.floor_sampled_within(SAMPLE_AGE_MAX)
    }

    /// The same. `None` if the last sample is older than `age_max`.
    pub(crate) fn floor_sampled_within(&self, age_max: Duration) -> Option<u64> {
        self.with(|times| {
            let now = Instant::now();
            let sampled_at = times.sampled_at?;
            (now.duration_since(sampled_at) < age_max).then(|| times.floor(now))
        })
    }

    /// Takes note of a sample: `clock`, the clock of the database, and `stored`, the stored time. Both were read after the instant
    /// `asked`. Returns the floor.
    pub(crate) fn sampled(&self, asked: Instant, clock: u64, stored: u64) -> u64 {
        self.with(|times| {
            let now = Instant::now();
            times.stored = times.stored.max(stored);
            if stored > times.floor_of_clock(now).max(clock).saturating_add(BEHIND_MAX_MICROS) {
                times.note(stored, now);
            }
            times.note(clock, now);
            // A sample whose answer took long is old already.
            times.sampled_at = times.sampled_at.max(Some(asked));
            let floor = times.floor(now);
            let behind = floor.saturating_sub(clock);
            let is_behind = behind > BEHIND_MAX_MICROS;
            if std::mem::replace(&mut times.is_behind, is_behind) != is_behind {
                let behind_seconds = behind / 1_000_000;
                if is_behind {
                    warn!(
                        behind_seconds,
                        "the clock of the database is behind the store clock, which never goes back: the clock was \
                         set back, or was ahead before; see Time in db/README.md"
                    );
                } else {
                    info!("the clock of the database has caught up with the store clock");
                }
            }
            floor
        })
    }

    /// The clock of this machine, or the floor if that is later. For a database in a file.
    pub(crate) fn now(&self) -> Result<u64, Error> {
        let clock = now()?;
        Ok(self.with(|times| {
            let now = Instant::now();
            times.note(clock, now);
            times.floor(now)
        }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Times) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Times {
    fn floor(&self, now: Instant) -> u64 {
        self.floor_of_clock(now).max(self.stored)
    }

    /// The last reading plus the time since, less a thousandth. The clock of this machine may run faster than that of the database,
    /// but not by a thousandth. Otherwise the faster one of many clocks would drive the store clock.
    fn floor_of_clock(&self, now: Instant) -> u64 {
        let passed = now.duration_since(self.read_at).as_micros();
        // Saturates after half a million years.
        self.read.saturating_add(u64::try_from(passed - passed.div_ceil(1000)).unwrap_or(u64::MAX))
    }

    /// Records that it is `time` now, unless a later time is known already.
    fn note(&mut self, time: u64, now: Instant) {
        if time > self.floor_of_clock(now) {
            (self.read, self.read_at) = (time, now);
        }
    }
}

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

    const NOW: u64 = 1_800_000_000_000_000;
    const SECOND: u64 = 1_000_000;

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_when_the_clock_is_set_back() {
        let clock = StoreClock::new();
        assert_eq!(clock.fresh_floor(), None, "nothing is known yet");
        assert_eq!(clock.sampled(Instant::now(), NOW, 0), NOW);
        tokio::time::advance(Duration::from_millis(900)).await;
        let floor = clock.fresh_floor().expect("the sample is young");
        assert!((NOW + 899_000..NOW + 900_000).contains(&floor), "{} us passed", floor - NOW);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(clock.fresh_floor(), None, "the sample is old");
        let floor = clock.sampled(Instant::now(), NOW - 3600 * SECOND, NOW);
        assert!(floor > NOW + 9_800_000, "{} us passed", floor - NOW);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(clock.floor() > NOW + 19_800_000, "time does not stand still");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_process_goes_on_from_the_time_in_the_store() {
        let clock = StoreClock::new();
        assert_eq!(clock.sampled(Instant::now(), NOW, NOW + 3600 * SECOND), NOW + 3600 * SECOND);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(clock.floor() > NOW + 3609 * SECOND, "time does not stand still");
    }

    #[tokio::test(start_paused = true)]
    async fn revisions_that_were_reserved_ahead_do_not_drive_the_time() {
        let (clock, mut time, mut stored) = (StoreClock::new(), NOW, 0);
        for _ in 0..10_000 {
            // A batch of 512 revisions in 400 us, then a pause.
            for passed in [400, 2000] {
                stored = (stored + 512).max(time).max(clock.sampled(Instant::now(), time, stored));
                tokio::time::advance(Duration::from_micros(passed)).await;
                time += passed;
            }
        }
        assert!(stored < time + 1024, "{} us ahead of the clock", stored - time);
    }

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
