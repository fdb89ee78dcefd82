//! What the sweeper needs of a database.

use std::time::Duration;

use crate::error::Error;
use crate::sweeper::expiry::DueHints;
use crate::sweeper::hint::{Hint, HintedEntry, Sweep};

/// How long the fence row of a lane is kept after its last batch. A lane that wrote nothing for longer goes on under a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FenceAges {
    /// The row of a lane that has committed, in microseconds.
    pub(crate) used: u64,
    /// The row of a lane that never has, in microseconds.
    pub(crate) unused: u64,
}

/// One connection of the sweeper. After any error it must be dropped, but not after a conflict if [`SweepSession::rest`] succeeds.
pub(crate) trait SweepSession: Send {
    /// Takes the lock of the sweeper until the connection ends. Returns `false` if another process has the lock.
    fn lock(&mut self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The stored time, in microseconds since 1970. 0 if there is none.
    ///
    /// Every later revision is larger, even if the clock is set back: a lane begins where the store is. So an entry with an earlier
    /// revision can be removed.
    fn now(&mut self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// The first hints up to the instant `ripe`, at most [`HINTS_PER_SWEEP_MAX`](crate::sweeper::hint::HINTS_PER_SWEEP_MAX).
    fn read_hints(&mut self, ripe: u64) -> impl Future<Output = Result<Vec<Hint>, Error>> + Send;

    /// Begins a transaction. Returns the entries of `keys` that exist, locked, in key order.
    fn lock_entries(
        &mut self,
        keys: &[&[u8]],
    ) -> impl Future<Output = Result<Vec<HintedEntry>, Error>> + Send;

    /// Removes `hints`, does the work of `sweep`, and commits.
    fn apply(&mut self, sweep: &Sweep, hints: &[Hint]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes fence rows that no lane is likely to need any more.
    fn delete_old_fences(&mut self, ages: FenceAges) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores for how long changes are kept, in seconds, for all readers and sweepers. 0: they are not logged. Commits.
    fn set_retention(&mut self, seconds: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// The retention in the store: that of the writer that started last. `None`: none has started yet.
    fn retention(&mut self) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;

    /// Rolls back the transaction that a read or a conflict has left open, if there is one.
    fn rest(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Hints that a transaction has locked, and the entries that they lead to, locked and in key order.
#[derive(Debug, Default)]
pub(crate) struct TakenHints {
    pub(crate) hints: Vec<Hint>,
    pub(crate) entries: Vec<HintedEntry>,
}

/// The connection that logs expiries, under a lane of its own.
pub(crate) trait ExpirySession: SweepSession {
    /// From now on, if this process hangs, the server soon ends the connection, so that another process gets the lock of the sweeper.
    fn release_lock_if_hung(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The store clock, in microseconds since 1970.
    fn clock(&mut self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// The first `limit` hints of `due`: those of expiries if `is_urgent`, otherwise the others.
    fn read_due(
        &mut self,
        due: DueHints,
        is_urgent: bool,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Hint>, Error>> + Send;

    /// Adds the fence row of a lane that logs its changes, and commits it.
    fn register(&mut self, lane: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Begins the transaction and passes the fence, as [`WriteSession::fence`](super::WriteSession::fence) does. Returns the revision
    /// that it reserves, or `None` if no row matched.
    fn begin(&mut self, lane: u64, seq: u64) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Locks those of `hints` that exist, then the entries that they lead to. Waits for no lock: leaves out hints that are locked, and hints
    /// whose entries are locked.
    fn take(&mut self, hints: &[Hint]) -> impl Future<Output = Result<TakenHints, Error>> + Send;

    /// Adds `keys`, at least one, to the log of changes, as the keys of the batch `seq` of `lane`.
    fn log_expired(
        &mut self,
        lane: u64,
        seq: u64,
        keys: &[Vec<u8>],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A row of the log of changes, without its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoggedPart {
    pub(crate) lane: u64,
    pub(crate) seq: u64,
    pub(crate) part: u64,
    /// When it was written, in microseconds since 1970.
    pub(crate) at: u64,
    /// The bytes of its keys. 0: the row is a marker, see [`Removal::Early`].
    pub(crate) bytes: u64,
}

/// Why rows of the log of changes are removed, and so how readers learn of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// They are too old: whoever lacks them has a position that is too old as well. The floor of the log is raised to this instant.
    Aged(u64),
    /// The log is too large or switched off. The last row stays without its keys, as a marker: whoever does not know its batch may lack
    /// some of the removed rows.
    Early,
}

/// The connection that removes old rows of the log of changes.
pub(crate) trait LogSession: SweepSession {
    /// The first row of the log, in the order of lane, seq and part, whose lane is at least `lane`. It does not return a marker
    /// that was written at `cutoff` or later.
    fn first_part(
        &mut self,
        lane: u64,
        cutoff: u64,
    ) -> impl Future<Output = Result<Option<LoggedPart>, Error>> + Send;

    /// The first `limit` rows of `lane` after the row with the seq and the part `after`, in their order.
    fn read_parts(
        &mut self,
        lane: u64,
        after: (u64, u64),
        limit: usize,
    ) -> impl Future<Output = Result<Vec<LoggedPart>, Error>> + Send;

    /// Removes the rows of the lane of `last` up to `last`, lets readers know as `removal` says, and commits. The rows must be few, because
    /// the transaction locks them.
    fn delete_parts(
        &mut self,
        last: LoggedPart,
        removal: Removal,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
