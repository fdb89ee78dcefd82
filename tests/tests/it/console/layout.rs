//! What the page looks like, and what it says about results that are missing or old.

use e2e::{EngineKind, PATIENCE};

use super::Console;

e2e::promises! {
    sqlite:
        a_long_word_does_not_widen_the_page,
        a_read_without_a_key_says_what_to_do,
        a_result_that_is_older_than_a_write_is_not_shown;
}

const READ_IS_OLD: &str =
    "document.querySelector('#asked').textContent === 'The key was written since. Press Read.'";
const LIST_IS_NEW: &str = "document.querySelector('#items tr').cells[1].textContent === 'again'";

async fn a_long_word_does_not_widen_the_page(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.fill(&"k".repeat(500), &"v".repeat(5000)).await;
    page.write().await;
    page.read().await;
    page.browser.click("#list button").await;
    page.browser.wait_for("document.querySelector('#items').children.length === 1", PATIENCE).await;
    for (width, height) in [(1280, 900), (390, 844)] {
        page.browser.resize(width, height).await;
        let wide = page.browser.eval("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= u64::from(width)), "{wide} at {width}");
    }
}

async fn a_read_without_a_key_says_what_to_do(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.write().await;
    page.read().await;
    page.browser.fill("#key", "").await;
    page.browser.click("#read").await;
    page.browser.wait_for("document.querySelector('#status').className === 'bad'", PATIENCE).await;
    let advice = "Not sent: a key has at least one character. Type a key, or press List to see all keys.";
    assert_eq!(page.text("status").await, advice);
    assert_eq!(page.text("found").await.trim(), "", "nothing of the last read is left");
    assert_eq!(page.text("read-command").await, "# type a key first");
}

async fn a_result_that_is_older_than_a_write_is_not_shown(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.write().await;
    page.read().await;
    page.browser.click("#list button").await;
    page.browser.wait_for("document.querySelector('#items').children.length === 1", PATIENCE).await;

    page.fill("hello", "again").await;
    page.write().await;
    page.browser.wait_for(READ_IS_OLD, PATIENCE).await;
    page.browser.wait_for(LIST_IS_NEW, PATIENCE).await;
    for id in ["status", "etag", "found"] {
        assert_eq!(page.text(id).await.trim(), "", "{id}");
    }
    assert_eq!(page.read().await["value"], "again");
    // A write to another key does not make it old, and a refused write makes nothing old.
    page.fill("other", "x").await;
    page.write().await;
    page.fill("hello", "x").await;
    page.browser.fill("#if-rev", "1").await;
    assert!(page.write().await.contains("rev_mismatch"));
    assert!(page.text("found").await.contains("again"));
    page.browser.fill("#if-rev", "").await;
    page.browser.click("#delete").await;
    page.browser.wait_for(READ_IS_OLD, PATIENCE).await;
}
