//! Where a page ends.

use db::Rev;
use proptest::prelude::*;

use super::*;

const MIB: usize = 1 << 20;

/// The rows of a store. A row is its value, or `None` if it is dead.
type Rows = Vec<Option<String>>;

/// The key of the row at `at`, in the order of the rows.
fn key(at: usize) -> String {
    format!("{at:06}")
}

fn record<'r>(key: &'r str, value: Option<&'r str>) -> Record<'r> {
    Record { key, value, rev: Rev(1), expires_at: None }
}

/// Gives `page` the rows from `start` in statements of at most `rows_max` rows, as the page asks for them. Returns where the next page
/// starts.
fn fill(page: &mut PageBuilder, store: &Rows, start: usize, rows_max: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let most = page.rows_wanted().min(rows_max);
        let statement = &store[at..store.len().min(at + most)];
        for (offset, value) in statement.iter().enumerate() {
            let key = key(at + offset);
            if page.take(&record(&key, value.as_deref())).is_break() {
                return Some(at + offset);
            }
        }
        at += statement.len();
        if statement.len() < most {
            return None;
        }
    }
}

fn live(count: usize, bytes: usize) -> Rows {
    vec![Some("v".repeat(bytes)); count]
}

fn dead(count: usize) -> Rows {
    vec![None; count]
}

/// How many items each page of `store` has, and how many rows it passed.
fn pages(store: &Rows, items_max: usize) -> Vec<(usize, usize)> {
    let (mut pages, mut next) = (Vec::new(), Some(0));
    while let Some(start) = next {
        let mut page = PageBuilder::new(items_max);
        next = fill(&mut page, store, start, 16);
        assert_eq!(page.is_full(), next.is_some());
        assert!(
            next.is_none_or(|next| key(next - 1) == page.last()),
            "it goes on after the last row it took"
        );
        pages.push((page.items, page.passed));
    }
    pages
}

#[test]
fn a_page_ends_at_its_limit_and_the_last_one_with_the_rows() {
    assert_eq!(pages(&live(20, 1), 7), [(7, 7), (7, 7), (6, 6)]);
    assert_eq!(pages(&live(14, 1), 7), [(7, 7), (7, 7)], "no empty page after the last row");
    assert_eq!(pages(&live(1, 1), 1), [(1, 1)]);
    assert_eq!(pages(&Rows::new(), 1000), [(0, 0)]);
}

#[test]
fn a_page_ends_before_the_item_that_takes_its_values_past_4_mib() {
    assert_eq!(pages(&live(9, MIB), 100), [(4, 4), (4, 4), (1, 1)]);
    let store = [live(3, MIB), live(1, MIB - 1), live(1, 1), live(1, 1)].concat();
    assert_eq!(pages(&store, 100), [(5, 5), (1, 1)], "4 MiB are not past 4 MiB");
    let store = [live(1, 5 * MIB), live(1, 0), live(1, 1)].concat();
    assert_eq!(pages(&store, 100), [(1, 1), (2, 2)], "at least one item, however heavy");
}

#[test]
fn a_page_ends_after_ten_thousand_rows_whatever_it_holds() {
    let store = [dead(25_000), live(1, 1)].concat();
    assert_eq!(pages(&store, 100), [(0, 10_000), (0, 10_000), (1, 5_001)]);
    assert_eq!(pages(&dead(10_000), 100), [(0, 10_000)], "nothing is left, so it is the last page");
    assert_eq!(pages(&[live(1, 1), dead(10_000)].concat(), 100), [(1, 10_000), (0, 1)]);
    assert_eq!(pages(&[dead(9), live(2, 1), dead(9), live(1, 1)].concat(), 2), [(2, 11), (1, 10)]);
}

#[test]
fn dead_rows_are_passed_by_few_statements_and_live_ones_are_not_fetched_in_vain() {
    let mut page = PageBuilder::new(100);
    for at in 0..99 {
        assert_eq!(page.rows_wanted(), 101 - at, "all that came are live");
        assert!(page.take(&record(&key(at), Some("v"))).is_continue());
    }
    let (mut statements, mut passed) = (0, 99);
    while passed < PAGE_ROWS_MAX {
        statements += 1;
        for _ in 0..page.rows_wanted().min(128) {
            if page.take(&record(&key(passed), None)).is_continue() {
                passed += 1;
            }
        }
    }
    assert!(page.is_full() && statements < 85, "{statements} statements for 9,901 dead rows");
    let taken = page.take(&record("999999", Some("v")));
    assert!(taken.is_break() && page.rows_wanted() == 1);
}

#[test]
fn a_full_page_takes_nothing_more() {
    let mut page = PageBuilder::new(2);
    assert_eq!(fill(&mut page, &live(3, 1), 0, 16), Some(2));
    let body = page.json.len();
    assert!(page.take(&record("9", None)).is_break());
    assert_eq!((page.last(), page.items, page.json.len()), (key(1).as_str(), 2, body));
}

#[test]
fn a_page_ends_before_a_row_that_cannot_be_read_and_leaves_a_long_value_to_the_next_statement() {
    let mut page = PageBuilder::new(10);
    assert!(page.postpone(5 * MIB).is_break() && !page.is_full(), "a first item may be long");
    assert!(page.is_empty());
    assert!(page.take(&record("a", Some("v"))).is_continue());
    assert!(page.postpone(4 * MIB - 1).is_break() && !page.is_full(), "it fits");
    assert!(page.postpone(4 * MIB).is_break() && page.is_full(), "it does not fit");
    let mut page = PageBuilder::new(10);
    assert!(page.take(&record("a", None)).is_continue());
    assert!(page.end().is_break() && page.is_full());
    assert_eq!(page.last(), "a");
}

proptest! {
    #[test]
    fn pages_together_hold_every_live_row_once_and_in_order(
        store in proptest::collection::vec(proptest::option::of("v{0,3}"), 0..60), items_max in 1..20usize, rows_max in 1..40usize,
    ) {
        let (mut found, mut next) = (Vec::new(), Some(0));
        while let Some(start) = next {
            let mut page = PageBuilder::new(items_max);
            next = fill(&mut page, &store, start, rows_max);
            prop_assert!(page.items <= items_max && (page.items == items_max || next.is_none()));
            let body: serde_json::Value = serde_json::from_slice(&page.finish(None)).expect("a page is JSON");
            let items = body["items"].as_array().expect("items is a list").clone();
            found.extend(items.into_iter().map(|item| (item["key"].clone(), item["value"].clone())));
        }
        let expected: Vec<_> = store.iter().enumerate()
            .filter_map(|(at, value)| value.as_ref().map(|value| (key(at).into(), value.as_str().into())))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
