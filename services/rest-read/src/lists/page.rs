//! One page of a list: which rows it takes, and where it ends.

use std::ops::ControlFlow;

use db::{KeyRecord, Record, Rev};

use crate::body;

/// The most bytes of values in a page, unless the first item alone has more.
const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most rows that a page passes, dead rows included. It bounds the work of the database.
const PAGE_ROWS_MAX: usize = 10_000;
/// How many more rows to ask for after each dead row in a run.
const ROWS_PER_DEAD_ROW: usize = 3;

/// A page that takes rows in key order until it is full. Only a row that it does not take makes it full.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    items_max: usize,
    items: usize,
    value_bytes: usize,
    /// Rows taken, dead rows included.
    passed: usize,
    /// Dead rows taken since the last item.
    dead: usize,
    /// The key of the last row taken.
    last: String,
    is_full: bool,
    /// The body so far.
    json: Vec<u8>,
}

impl PageBuilder {
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

    /// Takes `record`, the next row in key order, unless the page ends before it.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        self.take_row(record.key, record.rev, record.value, record.value.is_some())
    }

    /// Takes `record`, the next row in key order, which was read without its value, unless the page ends before it.
    pub(crate) fn take_key(&mut self, record: &KeyRecord<'_>) -> ControlFlow<()> {
        self.take_row(record.key, record.rev, None, record.is_live)
    }

    fn take_row(&mut self, key: &str, rev: Rev, value: Option<&str>, is_live: bool) -> ControlFlow<()> {
        let bytes = value.map_or(0, str::len);
        let is_over = self.is_over(bytes) || self.items == self.items_max || self.passed == PAGE_ROWS_MAX;
        if self.is_full || is_over {
            return self.end();
        }
        self.passed += 1;
        self.dead = if is_live { 0 } else { self.dead + 1 };
        self.last.clear();
        self.last.push_str(key);
        if is_live {
            body::item(&mut self.json, self.items, key, value, rev);
            self.items += 1;
            self.value_bytes += bytes;
        }
        ControlFlow::Continue(())
    }

    /// Postpones the next row to another statement, or to the next page. Its value of `bytes` bytes was omitted.
    pub(crate) fn postpone(&mut self, bytes: usize) -> ControlFlow<()> {
        self.is_full |= self.is_over(bytes);
        ControlFlow::Break(())
    }

    /// Ends the page before the next row.
    pub(crate) fn end(&mut self) -> ControlFlow<()> {
        self.is_full = true;
        ControlFlow::Break(())
    }

    /// Whether a value of `bytes` bytes takes the page past its limit.
    fn is_over(&self, bytes: usize) -> bool {
        self.items > 0 && self.value_bytes.saturating_add(bytes) > VALUE_BYTES_MAX
    }

    /// Whether the page has taken no row yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed == 0
    }

    /// Whether there is a row that the page did not take.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many rows to ask for: one for each item that fits, and one to see whether there are more. After dead rows many
    /// more: a dead row costs little, a further statement much.
    pub(crate) fn rows_wanted(&self) -> usize {
        let wanted = self.items_max - self.items + 1 + ROWS_PER_DEAD_ROW * self.dead;
        wanted.min(PAGE_ROWS_MAX - self.passed + 1)
    }

    /// The bytes of values that the page can still take.
    pub(crate) fn value_bytes_left(&self) -> usize {
        VALUE_BYTES_MAX.saturating_sub(self.value_bytes)
    }

    /// The key of the last row taken.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// The body of the page. `next` is the cursor of the next page, if there is one.
    pub(crate) fn finish(mut self, next: Option<&str>) -> Vec<u8> {
        body::end_list(&mut self.json, next);
        self.json
    }
}

#[cfg(test)]
mod tests;
