//! One page of a list: which rows it takes, and where it ends.

use std::ops::ControlFlow;

use db::Record;

use crate::body;
use crate::pace::GROWTH;

/// The most items a page can be asked to hold.
pub(crate) const ITEMS_MAX: usize = 1000;
/// What it holds unless asked otherwise.
pub(crate) const ITEMS_DEFAULT: usize = 100;
/// The most bytes of values, unless the first item alone has more.
const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most rows passed, dead ones included: what a page may cost the database.
const ROWS_MAX: usize = 10_000;

/// A page that takes rows in key order until it is full. It is full only once it has seen a row that it does not take.
#[derive(Debug)]
pub(crate) struct Page {
    items_max: usize,
    items: usize,
    value_bytes: usize,
    /// Rows taken, dead ones included.
    passed: usize,
    /// Dead rows taken since the last item.
    dead: usize,
    /// The key of the last of them.
    last: String,
    is_full: bool,
    /// The body so far.
    json: Vec<u8>,
}

impl Page {
    /// An empty page of at most `items_max` items.
    pub(crate) fn new(items_max: usize) -> Self {
        Self {
            items_max,
            items: 0,
            value_bytes: 0,
            passed: 0,
            dead: 0,
            last: String::new(),
            is_full: false,
            json: body::list(),
        }
    }

    /// Takes `record`, the next in key order, unless the page ends before it.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        let bytes = record.value.map_or(0, str::len);
        let over = self.items > 0 && self.value_bytes + bytes > VALUE_BYTES_MAX;
        if self.is_full || over || self.items == self.items_max || self.passed == ROWS_MAX {
            self.is_full = true;
            return ControlFlow::Break(());
        }
        self.passed += 1;
        self.dead = if record.value.is_some() { 0 } else { self.dead + 1 };
        self.last.clear();
        self.last.push_str(record.key);
        if let Some(value) = record.value {
            body::item(&mut self.json, self.items, record.key, value, record.rev);
            self.items += 1;
            self.value_bytes += bytes;
        }
        ControlFlow::Continue(())
    }

    /// Whether there is a row it did not take.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The rows to ask for: as many as there is room for items, and one that shows that there are more. Where rows are dead,
    /// ever more: they cost little, and a statement for each would cost much.
    pub(crate) fn rows_wanted(&self) -> usize {
        let hoped = self.items_max - self.items + 1 + (GROWTH - 1) * self.dead;
        hoped.min(ROWS_MAX - self.passed + 1)
    }

    /// The bytes of values it can still take.
    pub(crate) fn value_bytes_left(&self) -> usize {
        VALUE_BYTES_MAX.saturating_sub(self.value_bytes)
    }

    /// The key of the last row it took.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// Its body. The list goes on at `next`, if there is more.
    pub(crate) fn finish(mut self, next: Option<&str>) -> Vec<u8> {
        body::end_list(&mut self.json, next);
        self.json
    }
}

#[cfg(test)]
mod tests;
