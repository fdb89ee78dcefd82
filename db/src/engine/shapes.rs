//! The few sizes of a statement. Each size is prepared once and cached.

use std::sync::Arc;

use crate::plan::run::Row;

/// Up to this number of rows, there is a statement for every number.
const EXACT_MAX: usize = 16;

/// The larger sizes. More rows take several statements.
const LARGE: [usize; 8] = [24, 32, 48, 64, 96, 128, 192, 256];

/// The most keys of one SELECT, and so of one [`crate::Reader::get`].
pub(crate) const KEYS_PER_SELECT_MAX: usize = 128;

/// How many sizes a statement with rows can have.
pub(crate) const SHAPES: usize = EXACT_MAX + LARGE.len();

/// The largest size that `rows` rows fill. Rows of an upsert are never padded, because a repeated row would be counted.
pub(crate) fn filled(rows: usize) -> usize {
    if rows <= EXACT_MAX {
        return rows;
    }
    // Too few rows for the smallest of these sizes fill the largest exact size.
    LARGE.iter().rev().copied().find(|&size| size <= rows).unwrap_or(EXACT_MAX)
}

/// The size of a list of `keys` keys: the next power of two. A list is padded by repeating its last key.
pub(crate) fn padded(keys: usize) -> usize {
    keys.next_power_of_two()
}

/// `items`, padded to a prepared size by repeating the last one.
pub(crate) fn pad<T>(items: impl ExactSizeIterator<Item = T> + Clone) -> impl Iterator<Item = T>
where
    T: Copy,
{
    let padding = padded(items.len()) - items.len();
    let last = items.clone().last();
    items.chain(std::iter::repeat_n(last, padding).flatten())
}

/// The texts of one statement for each size. A text is made when its size is first needed.
#[derive(Debug)]
pub(crate) struct StatementTexts {
    text: fn(usize) -> String,
    by_size: Vec<Option<Arc<str>>>,
}

impl StatementTexts {
    pub(crate) fn new(text: fn(usize) -> String) -> Self {
        Self { text, by_size: Vec::new() }
    }

    /// The text for `size` rows or keys.
    pub(crate) fn of(&mut self, size: usize) -> Arc<str> {
        if self.by_size.len() <= size {
            self.by_size.resize(size + 1, None);
        }
        Arc::clone(self.by_size[size].get_or_insert_with(|| (self.text)(size).into()))
    }
}

/// A statement that writes rows, with texts for rows that never expire and texts for rows that may.
#[derive(Debug)]
pub(crate) struct RowStatement {
    plain: StatementTexts,
    expiring: StatementTexts,
}

impl RowStatement {
    pub(crate) fn new(plain: fn(usize) -> String, expiring: fn(usize) -> String) -> Self {
        Self { plain: StatementTexts::new(plain), expiring: StatementTexts::new(expiring) }
    }

    /// The text for `rows`.
    pub(crate) fn of(&mut self, rows: &[Row<'_>]) -> Arc<str> {
        let texts = if may_expire(rows) { &mut self.expiring } else { &mut self.plain };
        texts.of(rows.len())
    }
}

/// Whether one of `rows` may expire, so that the statement has arguments for it.
pub(crate) fn may_expire(rows: &[Row<'_>]) -> bool {
    rows.iter().any(|row| row.expiry.ends())
}

/// `condition` repeated `count` times, joined by `or`.
pub(crate) fn either(condition: &str, count: usize) -> String {
    vec![condition; count].join(" or ")
}

/// `part` repeated `count` times, joined by commas.
pub(crate) fn list(part: &str, count: usize) -> String {
    vec![part; count].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_covered_by_few_statements() {
        for rows in 1..=1000usize {
            let (mut left, mut statements) = (rows, 0);
            while left > 0 {
                let size = filled(left);
                assert!(size >= 1 && size <= left);
                left -= size;
                statements += 1;
            }
            assert!(statements <= rows / 256 + 3, "{rows} rows took {statements} statements");
        }
    }

    #[test]
    fn lists_are_padded_to_powers_of_two() {
        assert_eq!([1, 2, 3, 5, 100, 128].map(padded), [1, 2, 4, 8, 128, 128]);
    }
}
