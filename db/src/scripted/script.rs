//! What goes wrong, drawn from the seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// How often each fault occurs, in thousandths of the statements. A run has some of them only, so that they do not hide each
/// other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Opening a connection fails, or takes too long.
    connect: u32,
    /// A connection breaks before or after a statement.
    broken: u32,
    /// A statement is refused, and the connection with it.
    refused: u32,
    /// A deadlock or a lock wait that ended.
    conflict: u32,
    /// A statement takes long, perhaps longer than anybody waits for it.
    late: u32,
    /// COMMIT is not answered, or by an error, whether or not it was carried out.
    commit_lost: u32,
    /// COMMIT hangs.
    commit_late: u32,
    /// A fence row vanishes or changes behind a COMMIT that got no answer.
    fence_lost: u32,
    /// The server goes on holding the transaction of a client that is gone.
    half_dead: u32,
    /// The mean time between two events of the whole server, in milliseconds. 0: there are none.
    pub(super) event_every_ms: u32,
    /// The longest latency before a statement is carried out, and again before its answer, in milliseconds.
    latency_ms: u32,
}

/// What happens to one statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// Until it is carried out, or lost.
    pub(super) before: Duration,
    pub(super) is_carried_out: bool,
    /// From then until its answer.
    pub(super) after: Duration,
    pub(super) ending: Ending,
}

/// What the client sees of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its answer.
    Answered,
    /// The connection breaks.
    Broken,
    /// An error after which the connection is of no use.
    Refused,
    /// Somebody was in the way; the server may have rolled the whole transaction back.
    Conflict { is_rolled_back: bool },
}

/// A change of a fence row by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowFault {
    /// The row is deleted.
    Wiped,
    /// Its seq is raised to one that its lane never used.
    SeqRaised,
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) random: SmallRng,
    pub(super) rates: Rates,
}

impl Rates {
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
    pub(crate) fn new(seed: u64, rates: Rates) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), rates }
    }

    /// Stops all faults.
    pub(super) fn calm(&mut self) {
        self.rates = Rates::default();
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

    /// A time that may be shorter or longer than what clients and lanes wait for.
    fn long(&mut self) -> Duration {
        if self.random.random() { self.millis(5..=1200) } else { self.millis(1000..=15_000) }
    }

    pub(super) fn connecting(&mut self) -> Fate {
        let mut fate = self.healthy();
        if self.happens(self.rates.connect) {
            let ending = if self.random.random() { Ending::Refused } else { Ending::Answered };
            fate = Fate { after: self.long(), ending, ..fate };
        }
        fate
    }

    fn healthy(&mut self) -> Fate {
        let (before, after) = (self.latency(), self.latency());
        Fate { before, is_carried_out: true, after, ending: Ending::Answered }
    }

    pub(super) fn statement(&mut self) -> Fate {
        let fate = self.healthy();
        if self.happens(self.rates.broken) {
            return Fate { is_carried_out: self.random.random(), ending: Ending::Broken, ..fate };
        }
        if self.happens(self.rates.refused) {
            return Fate { is_carried_out: false, ending: Ending::Refused, ..fate };
        }
        if self.happens(self.rates.conflict) {
            let ending = Ending::Conflict { is_rolled_back: self.random.random() };
            return Fate { is_carried_out: false, ending, ..fate };
        }
        if self.happens(self.rates.late) {
            let (long, is_before) = (self.long(), self.random.random::<bool>());
            return if is_before { Fate { before: long, ..fate } } else { Fate { after: long, ..fate } };
        }
        fate
    }

    pub(super) fn commit(&mut self) -> Fate {
        let fate = self.healthy();
        if self.happens(self.rates.commit_lost) {
            let is_carried_out: bool = self.random.random();
            let ending = match self.random.random_range(0..3) {
                0 => Ending::Broken,
                1 => Ending::Refused,
                _ => Ending::Conflict { is_rolled_back: !is_carried_out },
            };
            return Fate { is_carried_out, ending, ..fate };
        }
        if self.happens(self.rates.commit_late) {
            let (long, is_before) = (self.long(), self.random.random::<bool>());
            let fate = Fate { is_carried_out: self.random.random_bool(0.8), ..fate };
            let fate = if is_before { Fate { before: long, ..fate } } else { Fate { after: long, ..fate } };
            let ending = if fate.is_carried_out { Ending::Answered } else { Ending::Broken };
            return Fate { ending, ..fate };
        }
        fate
    }

    /// Whether the fence row of a lane is changed behind a COMMIT that was not confirmed.
    pub(super) fn row_fault(&mut self) -> Option<RowFault> {
        let fault = if self.random.random() { RowFault::Wiped } else { RowFault::SeqRaised };
        self.happens(self.rates.fence_lost).then_some(fault)
    }

    /// How long the server takes to notice that a client is gone; `wait_timeout` is 30 s.
    pub(super) fn noticed_after(&mut self) -> Duration {
        if self.happens(self.rates.half_dead) { self.millis(1..=30_000) } else { self.millis(0..=2) }
    }
}
