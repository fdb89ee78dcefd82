//! Reads what keys hold at the instant of a snapshot, and makes an event of each.

use db::{Content, Error, FoundRow, Key, LogSnapshot, RowError, Values};

use crate::damage::DamageLog;
use crate::watch::event;
pub(crate) use crate::watch::event::KeyState;

/// The most keys of one statement.
pub(crate) const KEYS_MAX: usize = 128;

/// The most bytes of a value that a statement for several keys brings. Longer values are read one by one, so that a statement brings at
/// most 8 MiB.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The state of a key that has a row.
pub(crate) fn of_row<'r>(content: &Content<'r>, rev: db::Rev) -> KeyState<'r> {
    match *content {
        Content::Live { value, expires_at } => KeyState::Put { value, rev, expires_at },
        Content::Deleted => KeyState::Deleted { rev },
        Content::Expired => KeyState::Expired { rev },
    }
}

/// Reads `keys`, at most [`KEYS_MAX`] in byte order, and calls `on_state` once for each, in no order: with its index in `keys`, and its
/// state. A damaged row is logged, and `on_state` is not called for its key.
pub(crate) async fn read(
    snapshot: &mut LogSnapshot<'_>,
    keys: &[Key],
    with_values: bool,
    damage: &DamageLog,
    mut on_state: impl FnMut(usize, KeyState<'_>) + Send,
) -> Result<(), Error> {
    let index = |key: &[u8]| {
        let found = keys.binary_search_by(|asked| asked.as_str().as_bytes().cmp(key));
        found.expect("only these keys are read, and they are in byte order")
    };
    let (mut has_no_row, mut long) = (vec![true; keys.len()], Vec::new());
    let values = if with_values { Values::UpTo(VALUE_BYTES_MAX) } else { Values::No };
    let on_row = |row: Result<FoundRow<'_>, RowError>| match row {
        Ok(row) => {
            let index = index(row.key.as_bytes());
            has_no_row[index] = false;
            on_state(index, of_row(&row.content, row.rev));
        }
        Err(RowError::LeftOut { key, bytes: _ }) => {
            let index = index(key.as_bytes());
            has_no_row[index] = false;
            long.push(index);
        }
        Err(RowError::Damaged(row)) => {
            has_no_row[index(row.key())] = false;
            damage.add(&row);
        }
    };
    snapshot.rows(keys, values, on_row).await?;
    for (index, _) in has_no_row.iter().enumerate().filter(|(_, has_no_row)| **has_no_row) {
        on_state(index, KeyState::Forgotten);
    }
    for index in long {
        let on_row = |row: Result<FoundRow<'_>, RowError>| match row {
            Ok(row) => on_state(index, of_row(&row.content, row.rev)),
            Err(RowError::LeftOut { .. }) => unreachable!("no value is left out"),
            Err(RowError::Damaged(row)) => damage.add(&row),
        };
        snapshot.rows(&keys[index..=index], Values::UpTo(usize::MAX), on_row).await?;
    }
    Ok(())
}

/// The event for `key`. Without `with_values` it has no value, even if `state` has one.
pub(crate) fn event(key: &str, state: KeyState<'_>, with_values: bool) -> Vec<u8> {
    match state {
        KeyState::Put { rev, expires_at, .. } if !with_values => {
            event::of_key(key, KeyState::Put { value: None, rev, expires_at })
        }
        KeyState::Put { .. } | KeyState::Deleted { .. } | KeyState::Expired { .. } | KeyState::Forgotten => {
            event::of_key(key, state)
        }
    }
}
