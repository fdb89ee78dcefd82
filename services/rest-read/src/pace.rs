//! How many rows the next statement of a scan asks for.
//!
//! A statement cannot be cut short, so what it brings beyond what is wanted is fetched in vain, and nobody knows beforehand
//! how heavy the rows are. So the first statements are small, and what came lately tells how much to ask for.

/// Rows of the first statement.
const FIRST: usize = 16;
/// By how much a statement may be larger than the one before.
pub(crate) const GROWTH: usize = 4;
/// The most rows of a statement: what heavy rows after many light ones can bring at once, like a SELECT of gets.
const MOST: usize = 128;

/// What a connection learnt from the rows it read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Rows of the next statement, however light.
    rows: usize,
    /// What a row weighs, in bytes: of the heaviest lately, forgotten slowly.
    bytes_per_row: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rows: FIRST, bytes_per_row: 0 }
    }

    /// How many rows to ask for when `bytes` are wanted: with rows as heavy as those lately it is one too many at most.
    pub(crate) fn rows(&self, bytes: usize) -> usize {
        (bytes / self.bytes_per_row.max(1)).saturating_add(1).min(self.rows)
    }

    /// A row of `bytes` has come.
    pub(crate) fn weigh(&mut self, bytes: usize) {
        let lately = self.bytes_per_row;
        self.bytes_per_row = bytes.max(lately - lately.div_ceil(16));
    }

    /// A statement has ended well: the next may be larger.
    pub(crate) fn grow(&mut self) {
        self.rows = (self.rows * GROWTH).min(MOST);
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
