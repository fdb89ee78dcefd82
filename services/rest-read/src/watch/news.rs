//! Reads what keys hold now, and makes an event of each.

use db::{Content, Error, FoundRow, Key, LogSnapshot, RowError, Values};

use crate::damage::DamageLog;
use crate::watch::event;
pub(crate) use crate::watch::event::News;

/// The most keys of one statement.
pub(crate) const KEYS_MAX: usize = 128;

/// The most bytes of a value that a statement for several keys brings. Longer values are read one by one, so that a statement brings at
/// most 8 MiB.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What a row says.
pub(crate) fn news<'r>(content: &Content<'r>, rev: db::Rev) -> News<'r> {
    match *content {
        Content::Live { value, expires_at } => News::Put { value, rev, expires_at },
        Content::Deleted => News::Deleted { rev },
        Content::Expired => News::Expired { rev },
    }
}

/// Reads `keys`, at most [`KEYS_MAX`] in byte order, and calls `on_news` once for each, in no order: with its place in `keys`, and what it
/// holds. A damaged row is logged, and nothing is told of its key.
pub(crate) async fn read(
    snapshot: &mut LogSnapshot<'_>,
    keys: &[Key],
    with_values: bool,
    damage: &DamageLog,
    mut on_news: impl FnMut(usize, News<'_>) + Send,
) -> Result<(), Error> {
    let place = |key: &[u8]| {
        let found = keys.binary_search_by(|asked| asked.as_str().as_bytes().cmp(key));
        found.expect("only these keys are read, and they are in byte order")
    };
    let (mut is_silent, mut long) = (vec![true; keys.len()], Vec::new());
    let values = if with_values { Values::UpTo(VALUE_BYTES_MAX) } else { Values::No };
    let on_row = |row: Result<FoundRow<'_>, RowError>| match row {
        Ok(row) => {
            let place = place(row.key.as_bytes());
            is_silent[place] = false;
            on_news(place, news(&row.content, row.rev));
        }
        Err(RowError::LeftOut { key, bytes: _ }) => {
            let place = place(key.as_bytes());
            is_silent[place] = false;
            long.push(place);
        }
        Err(RowError::Damaged(row)) => {
            is_silent[place(row.key())] = false;
            damage.add(&row);
        }
    };
    snapshot.rows(keys, values, on_row).await?;
    for (place, _) in is_silent.iter().enumerate().filter(|(_, is_silent)| **is_silent) {
        on_news(place, News::Forgotten);
    }
    for place in long {
        let on_row = |row: Result<FoundRow<'_>, RowError>| match row {
            Ok(row) => on_news(place, news(&row.content, row.rev)),
            Err(RowError::LeftOut { .. }) => unreachable!("no value is left out"),
            Err(RowError::Damaged(row)) => damage.add(&row),
        };
        snapshot.rows(&keys[place..=place], Values::UpTo(usize::MAX), on_row).await?;
    }
    Ok(())
}

/// The event of `news`, for a watch that wants values or not.
pub(crate) fn event(key: &str, news: News<'_>, with_values: bool) -> Vec<u8> {
    match news {
        News::Put { rev, expires_at, .. } if !with_values => {
            event::of_key(key, News::Put { value: None, rev, expires_at })
        }
        News::Put { .. } | News::Deleted { .. } | News::Expired { .. } | News::Forgotten => {
            event::of_key(key, news)
        }
    }
}
