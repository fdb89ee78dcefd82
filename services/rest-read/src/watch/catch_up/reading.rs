//! How a catch-up reads from its snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;

use db::{FoundRow, Key, LogSnapshot, Range, RowError, Values};

use super::pass::Pass;
use super::{CatchUp, CatchUpError, KEYS_MAX, PART_BYTES, Part, Scope};
use crate::pace::Pace;
use crate::watch::event::KeyState;
use crate::watch::key_states;
use crate::watch::position::{Position, ResetReason};
use crate::watch::target::Target;

impl CatchUp {
    /// Reads what `scope` says, and hands it over. The last part is the position of `snapshot`.
    pub(super) async fn read_snapshot(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        scope: Scope,
        had_snapshot: bool,
    ) -> Result<(), CatchUpError> {
        let position = Arc::new(Position::of(snapshot.state()));
        let reset = match scope {
            Scope::Snapshot => {
                self.everything(snapshot).await?;
                None
            }
            Scope::Now => None,
            Scope::After(from) => match from.reset_reason(snapshot.state()) {
                Some(reason) => Some(reason),
                None => self.changes(snapshot, &from, had_snapshot).await?,
            },
        };
        if let Some(reason) = reset {
            self.send(Part::Reset(reason)).await?;
            self.everything(snapshot).await?;
        }
        self.flush().await?;
        self.send(Part::Done(position)).await
    }

    /// Reads everything that is there, in byte order of the keys.
    async fn everything(&mut self, snapshot: &mut LogSnapshot<'_>) -> Result<(), CatchUpError> {
        let watcher = Arc::clone(&self.watcher);
        match &watcher.target {
            Target::Prefix(prefix) => self.prefix(snapshot, Range::new(prefix.clone())).await,
            Target::Keys(keys) => {
                let keys: Vec<_> = keys.iter().cloned().collect();
                self.keys(snapshot, &keys, true).await
            }
        }
    }

    /// Reads the live entries of `range`, in byte order of the keys.
    async fn prefix(&mut self, snapshot: &mut LogSnapshot<'_>, mut range: Range) -> Result<(), CatchUpError> {
        let with_values = self.watcher.with_values;
        let mut pace = Pace::new();
        loop {
            let rows_max = pace.rows(PART_BYTES);
            let values = if with_values {
                Values::UpTo(Pace::value_bytes_max(rows_max, PART_BYTES))
            } else {
                Values::No
            };
            let (mut last, mut is_cut) = (None, false);
            let (events, damage) = (&mut self.events, &self.damage);
            let on_row = |row: Result<FoundRow<'_>, RowError>| {
                let row = match row {
                    Ok(row) => row,
                    Err(RowError::LeftOut { key: _, bytes }) => {
                        // The next statement begins with this row, and asks for few rows.
                        pace.weigh(bytes);
                        is_cut = true;
                        return ControlFlow::Break(());
                    }
                    Err(RowError::Damaged(row)) => {
                        damage.add(&row);
                        last = Some(row.key().to_vec());
                        return ControlFlow::Continue(());
                    }
                };
                let before = events.len();
                let state = key_states::of_row(&row.content, row.rev);
                if matches!(state, KeyState::Put { .. }) {
                    events.extend_from_slice(&key_states::event(row.key, state, with_values));
                }
                pace.weigh(events.len() - before);
                last = Some(row.key.as_bytes().to_vec());
                ControlFlow::Continue(())
            };
            let count = snapshot.range(&range, rows_max, values, on_row).await?;
            let is_last = count < rows_max && !is_cut;
            pace.grow();
            if let Some(last) = last {
                range = range.after(last);
            }
            if is_last {
                return Ok(());
            }
            self.flush_if_large().await?;
        }
    }

    /// Reads `keys`, which are in byte order. `is_snapshot`: keys without a live entry have no event.
    async fn keys(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        keys: &[Key],
        is_snapshot: bool,
    ) -> Result<(), CatchUpError> {
        let with_values = self.watcher.with_values;
        for keys in keys.chunks(key_states::KEYS_MAX) {
            let mut events = vec![Vec::new(); keys.len()];
            let on_state = |index: usize, state: KeyState<'_>| {
                if !is_snapshot || matches!(state, KeyState::Put { .. }) {
                    events[index] = key_states::event(keys[index].as_str(), state, with_values);
                }
            };
            key_states::read(snapshot, keys, with_values, &self.damage, on_state).await?;
            for event in events {
                self.events.extend_from_slice(&event);
                self.flush_if_large().await?;
            }
        }
        Ok(())
    }

    /// Reads what the keys hold that have changed since `from`, pass by pass. Returns a reason if the stream must be reset instead.
    async fn changes(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        from: &Position,
        had_snapshot: bool,
    ) -> Result<Option<ResetReason>, CatchUpError> {
        let mut pass = Pass::first(KEYS_MAX);
        loop {
            pass.read(snapshot, from, &self.watcher.target).await?;
            if pass.is_cut() && !had_snapshot {
                return Ok(Some(ResetReason::TooFarBehind));
            }
            let keys = pass.keys();
            self.keys(snapshot, &keys, false).await?;
            match pass.next() {
                Some(next) => pass = next,
                None => return Ok(None),
            }
        }
    }
}
