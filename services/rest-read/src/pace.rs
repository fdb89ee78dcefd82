//! How many rows the next statement of a scan asks for.
//!
//! A server cannot cut a statement short, so every row beyond those wanted is read in vain. How heavy the rows are is not known
//! beforehand. So the first statements are small, and the weight of recent rows decides how many rows the next one asks for. Values that
//! are much longer than expected are left out.

/// Rows of the first statement.
const ROWS_FIRST: usize = 16;
/// A statement may ask for at most this many times the rows of the statement before it.
const GROWTH: usize = 4;
/// The most rows of a statement, as in a SELECT of gets. It bounds the bytes that heavy rows after light ones bring at once.
const STATEMENT_ROWS_MAX: usize = 128;

/// The weight of the rows that a connection has read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The most rows of the next statement, however light they are.
    rows: usize,
    /// Bytes of the heaviest recent row; decays with each lighter row.
    bytes_per_row: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rows: ROWS_FIRST, bytes_per_row: 0 }
    }

    /// How many rows to ask for when `bytes` are wanted: at most one too many if they are as heavy as recent rows.
    pub(crate) fn rows(&self, bytes: usize) -> usize {
        (bytes / self.bytes_per_row.max(1)).saturating_add(1).min(self.rows)
    }

    /// The most bytes of a value that a statement of `rows` rows is to bring when `bytes` are wanted. Longer values are left out, so
    /// that heavy rows after light ones bring little more than was wanted. A single row comes however heavy it is.
    pub(crate) fn value_bytes_max(rows: usize, bytes: usize) -> usize {
        bytes.checked_div(rows.saturating_sub(1)).unwrap_or(usize::MAX)
    }

    /// Notes a row of `bytes`, left out or not.
    pub(crate) fn weigh(&mut self, bytes: usize) {
        let lately = self.bytes_per_row;
        self.bytes_per_row = bytes.max(lately - lately.div_ceil(16));
    }

    /// Notes a statement that succeeded: the next one may be larger.
    pub(crate) fn grow(&mut self) {
        self.rows = (self.rows * GROWTH).min(STATEMENT_ROWS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn light_rows_are_asked_for_in_ever_larger_statements() {
        let mut pace = Pace::new();
        let mut asked = Vec::new();
        for _ in 0..4 {
            let rows = pace.rows(4 * MIB);
            (0..rows).for_each(|_| pace.weigh(100));
            pace.grow();
            asked.push(rows);
        }
        assert_eq!(asked, [16, 64, 128, 128]);
    }

    #[test]
    fn a_statement_brings_at_most_twice_what_is_wanted_and_a_left_out_row_comes_next() {
        for row in [1, 100, 40_000, MIB, 4 * MIB, 16 * MIB] {
            let (mut pace, wanted) = (Pace::new(), 4 * MIB);
            let rows = pace.rows(wanted);
            let max = Pace::value_bytes_max(rows, wanted);
            assert!(rows == 1 || rows * max <= 2 * wanted);
            pace.weigh(row);
            let rows = pace.rows(wanted);
            assert!(row <= Pace::value_bytes_max(rows, wanted), "{row} bytes, {rows} rows");
        }
    }

    #[test]
    fn heavy_rows_are_asked_for_one_too_many_at_most_until_they_are_forgotten() {
        let mut pace = Pace::new();
        pace.weigh(MIB);
        assert_eq!([4 * MIB, 3 * MIB, MIB, 1, 0].map(|bytes| pace.rows(bytes)), [5, 4, 2, 1, 1]);
        pace.weigh(0);
        assert!(pace.rows(4 * MIB) <= 6, "one light row says little");
        (0..400).for_each(|_| pace.weigh(0));
        assert_eq!(pace.rows(4 * MIB), 16);
    }
}
