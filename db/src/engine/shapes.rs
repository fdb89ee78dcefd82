//! The few sizes a statement comes in, so that each is prepared once and cached.

use std::sync::Arc;

/// Up to this many rows there is a statement for every number.
const EXACT_MAX: usize = 16;

/// The sizes above that; more rows are several statements.
const LARGE: [usize; 8] = [24, 32, 48, 64, 96, 128, 192, 256];

/// The most keys of one SELECT, and so of one [`Reader::get`].
pub(crate) const KEYS_PER_SELECT_MAX: usize = 128;

/// How many statement texts one kind of statement can have.
pub(crate) const SHAPES: usize = EXACT_MAX + LARGE.len();

/// The largest size that `rows` fill. Rows of an upsert are never padded: a repeat would be counted.
pub(crate) fn filled(rows: usize) -> usize {
    if rows <= EXACT_MAX {
        return rows;
    }
    // Too few for the smallest of these, they fill the largest exact size.
    LARGE.iter().rev().copied().find(|&size| size <= rows).unwrap_or(EXACT_MAX)
}

/// The smallest power of two that holds `keys`: an IN list is padded by repeating its last key.
pub(crate) fn padded(keys: usize) -> usize {
    keys.next_power_of_two()
}

/// `items`, the last one repeated until a prepared size is full.
pub(crate) fn pad<T>(items: impl ExactSizeIterator<Item = T> + Clone) -> impl Iterator<Item = T>
where
    T: Copy,
{
    let padding = padded(items.len()) - items.len();
    let last = items.clone().last();
    items.chain(std::iter::repeat_n(last, padding).flatten())
}

/// Texts of one kind of statement, each made when its size is first needed.
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

/// `condition` repeated `count` times, of which one must hold.
pub(crate) fn either(condition: &str, count: usize) -> String {
    vec![condition; count].join(" or ")
}

/// `part` repeated `count` times, with commas between.
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
