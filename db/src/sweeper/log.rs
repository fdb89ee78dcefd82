//! Removes rows of the log of changes, in small steps: those that are too old, and the oldest rows of a log that is too large.

use std::collections::BTreeMap;

use crate::changes::TRANSACTION_MICROS_MAX;
use crate::engine::sweep::{LogSession, LoggedPart, Removal};
use crate::error::Error;

/// The most rows of one step.
const ROWS_MAX: usize = 256;

/// The most bytes of keys that one step removes, unless its first row has more.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// About how many bytes a row takes beside its keys. A marker counts nothing, because it cannot be removed early.
const ROW_BYTES: u64 = 64;

/// A step removes rows of one lane although another lane has older ones, if these are at most this much older, in microseconds, or this part of
/// the age of the oldest row. Otherwise a step would remove a single row where lanes write in turn, and the log would grow faster.
const STRIDE_MIN: u64 = 1_000_000;
const STRIDES: u64 = 16;

/// Whether a step has left work for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do. The step has removed this number of rows.
    Removed(u64),
    /// The round has nothing more to do.
    Done,
}

/// The bytes of the log of changes, as far as they were counted, and the work of a round.
///
/// A round looks at each lane and counts what is new, then removes what has to go. It counts in memory, because to count the whole
/// log would read it.
#[derive(Debug)]
pub(super) struct LogSweep {
    /// A log with more bytes is cut. `None`: nothing is counted.
    bytes_max: Option<u64>,
    lanes: BTreeMap<u64, CountedLane>,
    phase: Phase,
}

/// The rows of one lane.
#[derive(Debug, Clone, Copy)]
struct CountedLane {
    /// The first row.
    first: LoggedPart,
    /// The seq and the part of the last row that was counted.
    last: (u64, u64),
    /// The bytes of all rows that were counted.
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The lanes from this id on are still to be looked at.
    Look { from: u64 },
    /// Every lane was looked at.
    Remove,
}

/// Which rows a log keeps, if it is not too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    now: u64,
    /// Rows that were written before this instant are too old.
    cutoff: u64,
    /// The log is switched off, so younger rows are not kept either.
    is_off: bool,
}

/// How far the rows of a round may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Rows that were written before this instant are too old.
    cutoff: u64,
    /// How many bytes the log has more than it may have.
    excess: u64,
    /// Rows up to this instant are among the oldest, see [`STRIDE_MIN`].
    oldest_until: u64,
}

impl Kept {
    /// `retention` is in microseconds. 0: the log is switched off.
    pub(super) fn at(now: u64, retention: u64) -> Self {
        // A change is written up to ten minutes before it can be read.
        let cutoff = now.saturating_sub(retention.saturating_add(TRANSACTION_MICROS_MAX));
        Self { now, cutoff, is_off: retention == 0 }
    }
}

impl LogSweep {
    /// `bytes_max`: cut a log with more bytes. `None`: count nothing.
    pub(super) fn new(bytes_max: Option<u64>) -> Self {
        Self { bytes_max, lanes: BTreeMap::new(), phase: Phase::Look { from: 0 } }
    }

    /// Begins a round.
    pub(super) fn begin(&mut self) {
        self.phase = Phase::Look { from: 0 };
    }

    /// The bytes of the log, as far as they were counted.
    pub(super) fn bytes(&self) -> u64 {
        self.lanes.values().map(|lane| lane.bytes).sum()
    }

    /// One step of the round: counts some rows, or removes some that are not `kept`.
    pub(super) async fn step<S: LogSession>(&mut self, session: &mut S, kept: Kept) -> Result<Step, Error> {
        match self.phase {
            Phase::Look { from } => {
                let done = self.look(session, from, kept.cutoff).await?;
                session.rest().await?;
                self.phase = done;
                Ok(Step::Removed(0))
            }
            Phase::Remove => self.remove(session, kept).await,
        }
    }

    /// Counts rows of the first lane whose id is at least `from`, which were not counted yet. Returns the next phase.
    async fn look<S: LogSession>(&mut self, session: &mut S, from: u64, cutoff: u64) -> Result<Phase, Error> {
        let found = session.first_part(from, cutoff).await?;
        let gone: Vec<u64> = match &found {
            Some(first) => self.lanes.range(from..first.lane).map(|(lane, _)| *lane).collect(),
            None => self.lanes.range(from..).map(|(lane, _)| *lane).collect(),
        };
        for lane in gone {
            self.lanes.remove(&lane);
        }
        let Some(first) = found else { return Ok(Phase::Remove) };
        let lane = self.lanes.entry(first.lane).or_insert_with(|| CountedLane::new(first));
        if lane.first != first {
            // Another process has removed rows.
            *lane = CountedLane::new(first);
        }
        if self.bytes_max.is_none() {
            return Ok(Phase::Look { from: first.lane + 1 });
        }
        let new = session.read_parts(first.lane, lane.last, ROWS_MAX).await?;
        lane.count(&new);
        let is_whole = new.len() < ROWS_MAX;
        Ok(Phase::Look { from: if is_whole { first.lane + 1 } else { first.lane } })
    }

    /// Removes some rows of the lane with the oldest ones.
    async fn remove<S: LogSession>(&mut self, session: &mut S, kept: Kept) -> Result<Step, Error> {
        let mut by_age: Vec<LoggedPart> = self.lanes.values().map(|lane| lane.first).collect();
        by_age.sort_unstable_by_key(|first| first.at);
        let Some(oldest) = by_age.first() else { return Ok(Step::Done) };
        let limits = if kept.is_off {
            Limits { cutoff: kept.cutoff, excess: u64::MAX, oldest_until: u64::MAX }
        } else {
            let stride = STRIDE_MIN.max(kept.now.saturating_sub(oldest.at) / STRIDES);
            Limits {
                cutoff: kept.cutoff,
                excess: self.bytes_max.map_or(0, |max| self.bytes().saturating_sub(max)),
                oldest_until: by_age.get(1).map_or(u64::MAX, |second| second.at.saturating_add(stride)),
            }
        };
        if !limits.takes(oldest, 0) {
            return Ok(Step::Done);
        }
        let rows = session.read_parts(oldest.lane, (0, 0), ROWS_MAX).await?;
        let count = limits.count(&rows);
        let Some((gone, Some(last))) = rows.get(..count).map(|gone| (gone, gone.last())) else {
            // Another process has removed them. The next round counts again.
            self.lanes.remove(&oldest.lane);
            session.rest().await?;
            return Ok(Step::Removed(0));
        };
        let removal = if last.at < kept.cutoff {
            Removal::Aged(gone.iter().map(|row| row.at).max().expect("at least one row is removed"))
        } else {
            Removal::Early
        };
        session.delete_parts(*last, removal).await?;
        let next = if let Some(next) = rows.get(count) {
            Some(*next)
        } else {
            let next = session.first_part(oldest.lane, kept.cutoff).await?;
            next.filter(|next| next.lane == oldest.lane)
        };
        session.rest().await?;
        self.forget(oldest.lane, gone, next);
        Ok(Step::Removed(count as u64))
    }

    /// The rows `gone` of `lane` are removed, and `next` is the first one now.
    fn forget(&mut self, lane: u64, gone: &[LoggedPart], next: Option<LoggedPart>) {
        let (Some(counted), Some(first)) = (self.lanes.get_mut(&lane), next) else {
            self.lanes.remove(&lane);
            return;
        };
        let was_counted = |row: &&LoggedPart| (row.seq, row.part) <= counted.last;
        let bytes: u64 = gone.iter().filter(was_counted).map(row_bytes).sum();
        counted.bytes = counted.bytes.saturating_sub(bytes);
        counted.first = first;
    }
}

impl CountedLane {
    fn new(first: LoggedPart) -> Self {
        Self { first, last: (0, 0), bytes: 0 }
    }

    /// Counts the rows that come next.
    fn count(&mut self, rows: &[LoggedPart]) {
        self.bytes += rows.iter().map(row_bytes).sum::<u64>();
        if let Some(last) = rows.last() {
            self.last = (last.seq, last.part);
        }
    }
}

impl Limits {
    /// Whether `row`, the first that is left of its lane, is to be removed after rows of `bytes` bytes.
    fn takes(&self, row: &LoggedPart, bytes: u64) -> bool {
        row.at < self.cutoff || bytes < self.excess && row.at <= self.oldest_until
    }

    /// How many of `rows`, the first of a lane, are removed in one step.
    fn count(&self, rows: &[LoggedPart]) -> usize {
        let (mut bytes, mut keys) = (0, 0);
        let is_taken = |row: &&LoggedPart| {
            let takes = self.takes(row, bytes) && (keys == 0 || keys + row.bytes <= BYTES_MAX);
            (bytes, keys) = (bytes + row_bytes(row), keys + row.bytes);
            takes
        };
        rows.iter().take_while(is_taken).count()
    }
}

fn row_bytes(row: &LoggedPart) -> u64 {
    if row.bytes == 0 { 0 } else { row.bytes + ROW_BYTES }
}

#[cfg(test)]
mod tests;
