//! `keywire import --from … --verify`: the source and the server side by side, both in byte order of their keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

use db::{ForeignEntry, PrivateCopy};

use crate::cli::client::{Failure, Target};
use crate::cli::progress::{Progress, counted};

use super::reports::{self, Reports};
use super::source;
use super::stored::{StoredEntries, StoredEntry};

/// What was found.
#[derive(Debug)]
struct Comparison<'a> {
    progress: &'a Progress,
    /// Rows of the source, whether they can be imported or not.
    rows: u64,
    refused: Reports,
    missing: Reports,
    different: Reports,
    extra: Reports,
}

/// The entries of the source.
struct Entries {
    copy: PrivateCopy,
    read: VecDeque<Result<ForeignEntry, db::UnfitRow>>,
}

/// Compares every row with what the server has. An error if there is any difference.
pub(super) async fn compare(
    copy: PrivateCopy,
    target: Target<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut found = Comparison {
        progress,
        rows: 0,
        refused: Reports::new("refused"),
        missing: Reports::new("missing on the server"),
        different: Reports::new("different"),
        extra: Reports::new("only on the server"),
    };
    let mut stored = StoredEntries::open(target).await?;
    let mut entries = Entries { copy, read: VecDeque::new() };
    let mut own = entries.next(&mut found).await?;
    let mut has_stored = stored.advance().await?;
    loop {
        let theirs = if has_stored { Some(stored.entry()?) } else { None };
        let Some(order) = found.add(own.as_ref(), theirs.as_ref()) else { break };
        if order.is_le() {
            own = entries.next(&mut found).await?;
        }
        if order.is_ge() {
            has_stored = stored.advance().await?;
        }
    }
    found.finish()
}

impl Entries {
    /// The next entry; `None` at the end. Rows before it that are no entries are reported.
    async fn next(&mut self, found: &mut Comparison<'_>) -> Result<Option<ForeignEntry>, Failure> {
        loop {
            let Some(row) = self.read.pop_front() else {
                self.read = self.copy.next().await.map_err(source::failure)?.into();
                if self.read.is_empty() {
                    return Ok(None);
                }
                found.progress.at_count(found.rows, found.rows, "row");
                continue;
            };
            found.rows += 1;
            match row {
                Ok(entry) => return Ok(Some(entry)),
                Err(unfit) => found.refused.add(&unfit.to_string(), found.progress),
            }
        }
    }
}

impl Comparison<'_> {
    /// Compares the next entries of both sides. `Less` means that the one of the source comes first, and the one of the server is
    /// still to be compared. `None`: both sides have ended.
    fn add(&mut self, own: Option<&ForeignEntry>, stored: Option<&StoredEntry<'_>>) -> Option<Ordering> {
        let order = match (own, stored) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(own), Some(stored)) => own.key.as_str().cmp(&stored.key),
        };
        let quoted = |key: &str| format!("\"{}\"", key.escape_debug());
        match (order, own, stored) {
            (Ordering::Less, Some(own), _) => self.missing.add(&quoted(own.key.as_str()), self.progress),
            (Ordering::Greater, _, Some(stored)) => self.extra.add(&quoted(&stored.key), self.progress),
            (_, Some(own), Some(stored)) if own.value.as_str() != stored.value => {
                self.different.add(&quoted(&stored.key), self.progress);
            }
            (_, _, _) => {}
        }
        Some(order)
    }

    fn finish(self) -> Result<(), Failure> {
        let all = [&self.refused, &self.missing, &self.different, &self.extra];
        let mut summary = format!("{} compared", counted(self.rows, "row"));
        for reports in all {
            reports.append_to(&mut summary);
        }
        if all.iter().all(|reports| reports.count() == 0) {
            summary.push_str(", no difference");
        }
        reports::finish(&summary, &all, self.progress)
    }
}

#[cfg(test)]
mod tests {
    use db::{Key, Value};

    use super::*;

    fn own(key: &str, value: &str) -> ForeignEntry {
        let (key, value) = (Key::new(key.into(), 512), Value::new(value.into(), 1024));
        ForeignEntry { key: key.expect("short"), value: value.expect("short") }
    }

    fn stored<'a>(key: &'a str, value: &'a str) -> StoredEntry<'a> {
        StoredEntry { key: key.into(), value: value.into() }
    }

    #[test]
    fn the_smaller_key_of_the_two_sides_is_on_one_side_only() {
        let progress = Progress::hidden();
        let reports = || Reports::new("found");
        let (refused, missing, different, extra) = (reports(), reports(), reports(), reports());
        let mut found = Comparison { progress: &progress, rows: 0, refused, missing, different, extra };
        for (own, stored, order) in [
            (Some(own("a", "1")), Some(stored("a", "1")), Some(Ordering::Equal)),
            (Some(own("a", "1")), Some(stored("a", "2")), Some(Ordering::Equal)),
            (Some(own("A", "1")), Some(stored("a", "1")), Some(Ordering::Less)),
            (Some(own("z", "1")), None, Some(Ordering::Less)),
            (Some(own("a ", "1")), Some(stored("a", "1")), Some(Ordering::Greater)),
            (None, Some(stored("a", "1")), Some(Ordering::Greater)),
            (None, None, None),
        ] {
            assert_eq!(found.add(own.as_ref(), stored.as_ref()), order, "{own:?} {stored:?}");
        }
        let counts = [found.missing.count(), found.different.count(), found.extra.count()];
        assert_eq!((counts, found.refused.count()), ([2, 1, 2], 0));
    }
}
