//! What a catch-up reads from its snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;

use db::{FoundRow, Key, LogSnapshot, Range, RowError, Values};

use super::pass::Pass;
use super::{Begin, CatchUp, CatchUpError, KEYS_MAX, PART_BYTES, Part};
use crate::pace::Pace;
use crate::watch::event::News;
use crate::watch::news;
use crate::watch::position::{Position, ResetReason};
use crate::watch::target::Target;

impl CatchUp {
    pub(super) async fn read_snapshot(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        begin: Begin,
        had_snapshot: bool,
    ) -> Result<(), CatchUpError> {
        let position = Arc::new(Position::of(snapshot.state()));
        let reset = match begin {
            Begin::Snapshot => {
                self.everything(snapshot).await?;
                None
            }
            Begin::Now => None,
            Begin::After(from) => match from.lost(snapshot.state()) {
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
                        // The next statement begins with it, and has few rows.
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
                let news = news::news(&row.content, row.rev);
                if matches!(news, News::Put { .. }) {
                    events.extend_from_slice(&news::event(row.key, news, with_values));
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

    /// Reads `keys`, which are in byte order. In a snapshot only what is there is told.
    async fn keys(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        keys: &[Key],
        is_snapshot: bool,
    ) -> Result<(), CatchUpError> {
        let with_values = self.watcher.with_values;
        for keys in keys.chunks(news::KEYS_MAX) {
            let mut events = vec![Vec::new(); keys.len()];
            let on_news = |place: usize, news: News<'_>| {
                if !is_snapshot || matches!(news, News::Put { .. }) {
                    events[place] = news::event(keys[place].as_str(), news, with_values);
                }
            };
            news::read(snapshot, keys, with_values, &self.damage, on_news).await?;
            for event in events {
                self.events.extend_from_slice(&event);
                self.flush_if_large().await?;
            }
        }
        Ok(())
    }

    /// Reads what has changed since `from`, pass by pass. Returns why that is not done.
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
