//! Rate limits: of one connection, or of all connections that use one token.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::problem::{Code, Problem};

/// A limit of operations per second. A burst may use the operations of one second at once; more are refused, not delayed.
#[derive(Debug)]
pub(crate) struct Rate(DefaultDirectRateLimiter, NonZeroU32);

impl Rate {
    /// A limit of `ops` per second; `None` for 0, which means no limit.
    #[must_use]
    pub(crate) fn new(ops: u32) -> Option<Self> {
        let ops = NonZeroU32::new(ops)?;
        Some(Self(RateLimiter::direct(Quota::per_second(ops)), ops))
    }

    /// Charges `ops` operations to the rate limit of `whose`: a connection or a token.
    ///
    /// # Errors
    /// `slow_down`: nothing was charged. The same operations may be sent later, unless they are more than one second allows.
    pub(crate) fn spend(&self, ops: usize, whose: &str) -> Result<(), Problem> {
        let Some(ops) = NonZeroU32::new(u32::try_from(ops).unwrap_or(u32::MAX)) else { return Ok(()) };
        let Self(limiter, limit) = self;
        if let Ok(Ok(())) = limiter.check_n(ops) {
            return Ok(());
        }
        let message = format!("more than {limit} ops a second for this {whose}; nothing was done");
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
