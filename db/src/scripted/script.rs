//! The faults of a run, drawn from its seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// A bug that is put in to test the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// A fence matches every seq, so a retry is applied twice.
    NoFence,
    /// A read of the seq returns the seq that the lane tried, so a lost COMMIT looks committed.
    HopedForSeq,
    /// An upsert reports one row too few.
    ShortAnswer,
    /// Statements use the clock of the server, even if it was set back.
    ClockTrusted,
    /// Clients take an unknown outcome for a refusal. The server does nothing wrong.
    UnknownTakenForRefused,
    /// The log of changes forgets what it is told.
    LogForgotten,
    /// The log of changes keeps what was rolled back.
    LogKept,
}

/// How often each fault occurs, in thousandths of the statements. A run has only some of the faults, so that they do not hide each
/// other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FaultRates {
    /// Opening a connection fails, or takes too long.
    connect: u32,
    /// A connection breaks before or after a statement.
    broken: u32,
    /// A statement is refused, and the connection with it.
    refused: u32,
    /// A deadlock, or a lock wait that reached its limit.
    conflict: u32,
    /// A statement takes long, perhaps longer than the lane waits.
    late: u32,
    /// COMMIT gets no answer or an error, whether or not it took effect.
    commit_lost: u32,
    /// COMMIT hangs.
    commit_late: u32,
    /// A fence row vanishes or changes after a COMMIT that got no answer.
    fence_lost: u32,
    /// The server keeps the transaction of a client that is gone.
    half_dead: u32,
    /// The mean time between two events of the whole server, in milliseconds. 0: there are none.
    pub(super) event_every_ms: u32,
    /// The longest latency before a statement runs, and again before its result, in milliseconds.
    latency_ms: u32,
}

/// What happens to one statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatementFate {
    /// Time until the statement runs or is lost.
    pub(super) before: Duration,
    pub(super) takes_effect: bool,
    /// Time from then until its result.
    pub(super) after: Duration,
    pub(super) ending: Ending,
}

/// What the client sees of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its result.
    Result,
    /// The connection breaks.
    Broken,
    /// An error. The connection is unusable after it.
    Refused,
    /// A conflict. The server may have rolled the whole transaction back.
    Conflict { is_rolled_back: bool },
}

/// A change of a fence row by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowFault {
    /// The row is deleted.
    Wiped,
    /// Its seq becomes one that its lane never used.
    SeqRaised,
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) random: SmallRng,
    pub(super) rates: FaultRates,
}

impl FaultRates {
    /// Each kind of fault occurs in two of five runs, rarely or often.
    pub(super) fn draw(random: &mut SmallRng) -> Self {
        let mut rate = |max: u32| if random.random_bool(0.4) { random.random_range(1..=max) } else { 0 };
        Self {
            connect: rate(300),
            broken: rate(100),
            refused: rate(60),
            conflict: rate(150),
            late: rate(60),
            commit_lost: rate(400),
            commit_late: rate(200),
            fence_lost: rate(500),
            half_dead: rate(600),
            event_every_ms: rate(3000),
            latency_ms: rate(40),
        }
    }
}

impl Script {
    pub(crate) fn new(seed: u64, rates: FaultRates) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), rates }
    }

    /// Stops all faults.
    pub(super) fn calm(&mut self) {
        self.rates = FaultRates::default();
    }

    pub(super) fn happens(&mut self, rate: u32) -> bool {
        rate > 0 && self.random.random_ratio(rate, 1000)
    }

    pub(super) fn millis(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn latency(&mut self) -> Duration {
        self.millis(0..=1 + u64::from(self.rates.latency_ms))
    }

    /// A time that may be shorter or longer than the limits of clients and lanes.
    fn long(&mut self) -> Duration {
        if self.random.random() { self.millis(5..=1200) } else { self.millis(1000..=15_000) }
    }

    pub(super) fn connecting(&mut self) -> StatementFate {
        let mut fate = self.healthy();
        if self.happens(self.rates.connect) {
            let ending = if self.random.random() { Ending::Refused } else { Ending::Result };
            fate = StatementFate { after: self.long(), ending, ..fate };
        }
        fate
    }

    fn healthy(&mut self) -> StatementFate {
        let (before, after) = (self.latency(), self.latency());
        StatementFate { before, takes_effect: true, after, ending: Ending::Result }
    }

    pub(super) fn statement(&mut self) -> StatementFate {
        let fate = self.healthy();
        if self.happens(self.rates.broken) {
            return StatementFate { takes_effect: self.random.random(), ending: Ending::Broken, ..fate };
        }
        if self.happens(self.rates.refused) {
            return StatementFate { takes_effect: false, ending: Ending::Refused, ..fate };
        }
        if self.happens(self.rates.conflict) {
            let ending = Ending::Conflict { is_rolled_back: self.random.random() };
            return StatementFate { takes_effect: false, ending, ..fate };
        }
        if self.happens(self.rates.late) {
            let (long, is_before) = (self.long(), self.random.random::<bool>());
            return if is_before {
                StatementFate { before: long, ..fate }
            } else {
                StatementFate { after: long, ..fate }
            };
        }
        fate
    }

    pub(super) fn commit(&mut self) -> StatementFate {
        let fate = self.healthy();
        if self.happens(self.rates.commit_lost) {
            let takes_effect: bool = self.random.random();
            let ending = match self.random.random_range(0..3) {
                0 => Ending::Broken,
                1 => Ending::Refused,
                _ => Ending::Conflict { is_rolled_back: !takes_effect },
            };
            return StatementFate { takes_effect, ending, ..fate };
        }
        if self.happens(self.rates.commit_late) {
            let (long, is_before) = (self.long(), self.random.random::<bool>());
            let fate = StatementFate { takes_effect: self.random.random_bool(0.8), ..fate };
            let fate = if is_before {
                StatementFate { before: long, ..fate }
            } else {
                StatementFate { after: long, ..fate }
            };
            let ending = if fate.takes_effect { Ending::Result } else { Ending::Broken };
            return StatementFate { ending, ..fate };
        }
        fate
    }

    /// The change of the fence row after a COMMIT that was not confirmed, if there is one.
    pub(super) fn row_fault(&mut self) -> Option<RowFault> {
        let fault = if self.random.random() { RowFault::Wiped } else { RowFault::SeqRaised };
        self.happens(self.rates.fence_lost).then_some(fault)
    }

    /// How long the server takes to notice that a client is gone; `wait_timeout` is 30 s.
    pub(super) fn noticed_after(&mut self) -> Duration {
        if self.happens(self.rates.half_dead) { self.millis(1..=30_000) } else { self.millis(0..=2) }
    }
}
