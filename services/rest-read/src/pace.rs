//! How many rows the next statement of a scan asks for.
//!
//! A statement cannot be cut short, so every row beyond those wanted is read in vain. How heavy the rows are is not known
//! beforehand. So the first statements are small, and the weight of recent rows decides how many rows the next one asks for.

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

    /// Notes a row of `bytes`.
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
