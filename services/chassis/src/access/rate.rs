//! How many ops a second are taken: from one connection, or from all holders of a token.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::problem::{Code, Problem};

/// So many ops a second, a second's worth of them at once. More are refused, not delayed.
#[derive(Debug)]
pub(crate) struct Rate(DefaultDirectRateLimiter, NonZeroU32);

impl Rate {
    /// A rate of `ops` a second; none if that is 0.
    #[must_use]
    pub(crate) fn new(ops: u32) -> Option<Self> {
        let ops = NonZeroU32::new(ops)?;
        Some(Self(RateLimiter::direct(Quota::per_second(ops)), ops))
    }

    /// Counts `ops` of whom `whose` names.
    ///
    /// # Errors
    /// `slow_down`: they are not counted, and may come again later. More at once than a second's worth never may.
    pub(crate) fn spend(&self, ops: usize, whose: &str) -> Result<(), Problem> {
        let Some(ops) = NonZeroU32::new(u32::try_from(ops).unwrap_or(u32::MAX)) else { return Ok(()) };
        let Self(limiter, most) = self;
        if let Ok(Ok(())) = limiter.check_n(ops) {
            return Ok(());
        }
        let message = format!("more than {most} ops a second for this {whose}; nothing was done");
        Err(Problem::new(Code::SlowDown, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_is_taken_at_once_and_no_more() {
        let rate = Rate::new(10).expect("not 0");
        assert_eq!(rate.spend(7, "token"), Ok(()));
        let refused = rate.spend(7, "token").expect_err("over the rate");
        assert_eq!((refused.code, refused.message.contains("10 ops a second")), (Code::SlowDown, true));
        assert_eq!(rate.spend(3, "token"), Ok(()), "what was refused is not counted");
        assert!(rate.spend(11, "token").is_err() && rate.spend(0, "token").is_ok());
        assert!(Rate::new(0).is_none());
    }
}
