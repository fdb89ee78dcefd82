//! A list that follows what others write.

use e2e::{
    Browser, EngineKind, PATIENCE, Role, ServiceProcess, SubpathProxy, System, Tokens, promises, skip,
};
use serde_json::{Value, json};

use super::Console;

promises! {
    sqlite:
        what_others_write_is_seen_in_place_and_in_byte_order,
        a_change_moves_nothing_that_the_reader_looks_at,
        only_the_listed_range_is_followed_and_only_so_many_rows_are_kept,
        a_lost_stream_is_shown_and_resumed_without_a_loss,
        a_list_without_a_log_of_changes_says_that_it_is_not_live,
        a_list_is_read_with_the_token_of_the_page;
}

const LIVE: &str = "document.querySelector('#live').matches('.good') && document.querySelector('#live').textContent === 'live'";
const LOST: &str = "document.querySelector('#live').matches('.bad')";

/// The rows of the list: keys and values.
const ROWS: &str = "[...document.querySelectorAll('#items tr')].map(row => [...row.cells].slice(0, 2).map(cell => cell.textContent))";

/// Whether the rows are these.
fn rows_are(rows: &[(&str, &str)]) -> String {
    format!("JSON.stringify({ROWS}) === {}", json!(json!(rows).to_string()))
}

fn note_is(note: &str) -> String {
    format!("document.querySelector('#listed').textContent === {}", json!(note))
}

impl Console {
    /// Lists the keys with `prefix` and waits until the list is live.
    async fn list_live(&mut self, prefix: &str) {
        self.browser.fill("#prefix", prefix).await;
        self.browser.click("#list button").await;
        self.wait_for(LIVE).await;
    }

    async fn wait_for(&mut self, condition: &str) {
        self.browser.wait_for(condition, PATIENCE).await;
    }

    async fn eval(&mut self, js: &str) -> Value {
        self.browser.eval(js).await
    }
}

async fn what_others_write_is_seen_in_place_and_in_byte_order(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let mut socket = page.system.socket().await;
    for key in ["k/b", "k/é", "other"] {
        socket.set(key, "1").await;
    }
    page.list_live("k/").await;
    page.wait_for(&rows_are(&[("k/b", "1"), ("k/é", "1")])).await;
    page.eval("document.querySelectorAll('#items tr').forEach(row => { row.isOld = true; })").await;

    // UTF-16 would have the last two in another order.
    for key in ["k/\u{1f600}", "k/\u{ff5e}", "k/a", "k/c", "other"] {
        socket.set(key, "2\n\u{2028}").await;
    }
    socket.set("k/b", "3").await;
    let new = "2⏎\u{2028}";
    let rows =
        [("k/a", new), ("k/b", "3"), ("k/c", new), ("k/é", "1"), ("k/\u{ff5e}", new), ("k/\u{1f600}", new)];
    page.wait_for(&rows_are(&rows)).await;
    page.wait_for(&note_is("6 keys in total.")).await;
    let old = "[...document.querySelectorAll('#items tr')].map(row => Boolean(row.isOld))";
    assert_eq!(
        page.eval(old).await,
        json!([false, true, false, true, false, false]),
        "rows stay what they are"
    );

    // The button of a row leads to its value of now.
    page.browser.click("#items tr:nth-child(2) button").await;
    assert_eq!(page.eval("document.querySelector('#value').value").await, "3");
    for key in ["k/a", "k/\u{1f600}", "k/é"] {
        socket.ask(json!({ "op": "delete", "key": key }).to_string()).await;
    }
    page.wait_for(&rows_are(&[("k/b", "3"), ("k/c", new), ("k/\u{ff5e}", new)])).await;
    socket.ask(json!({ "key": "k/c", "value": "4", "ttl": 1 }).to_string()).await;
    page.wait_for(&rows_are(&[("k/b", "3"), ("k/\u{ff5e}", new)])).await;
    page.is_clean().await;
}

async fn a_change_moves_nothing_that_the_reader_looks_at(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let mut socket = page.system.socket().await;
    for number in 10..30 {
        socket.set(&format!("k/{number}"), "1").await;
    }
    page.browser.resize(800, 500).await;
    page.list_live("k/").await;
    page.wait_for(&note_is("20 keys in total.")).await;
    page.eval(
        "(() => { const row = document.querySelector('#items tr:nth-child(15)'); row.id = 'mine'; row.scrollIntoView({ block: 'center' });\
         getSelection().selectAllChildren(row.cells[0]); row.querySelector('button').focus({ preventScroll: true }); })()",
    )
    .await;
    let top = "Math.round(document.querySelector('#mine').getBoundingClientRect().top)";
    let before = page.eval(top).await;
    for key in ["k/0", "k/1", "k/23", "k/24", "k/25", "k/9"] {
        socket.set(key, "2").await;
    }
    page.wait_for(&note_is("23 keys in total.")).await;
    let value = "document.querySelector('#mine').cells[1].textContent";
    page.wait_for(&format!("{value} === '2'")).await;
    assert_eq!(page.eval("getSelection().toString()").await, "k/24");
    let focused = "document.activeElement.closest('tr')?.id";
    assert_eq!(page.eval(focused).await, "mine");
    page.wait_for(&format!("{top} === {before}")).await;
    // A row that disappears hands the focus on, so that the keyboard does not begin at the top of the page.
    socket.ask(json!({ "op": "delete", "key": "k/24" }).to_string()).await;
    page.wait_for(&note_is("22 keys in total.")).await;
    assert_eq!(page.eval("document.activeElement.textContent").await, "k/25");
}

async fn only_the_listed_range_is_followed_and_only_so_many_rows_are_kept(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let mut socket = page.system.socket().await;
    let keys: Vec<_> = (100..150).map(|number| format!("k/{number}")).collect();
    for key in &keys {
        socket.set(key, "1").await;
    }
    page.list_live("k/").await;
    page.wait_for(&note_is("20 keys so far.")).await;
    for key in ["k/130", "k/131x", "k/1000"] {
        socket.set(key, "2").await;
    }
    page.wait_for(&note_is("21 keys so far.")).await;
    assert_eq!(page.list("#more", "41 keys so far.").await.last().map(String::as_str), Some("k/138"));
    let rest = page.list("#more", "52 keys in total.").await;
    assert!(rest.is_sorted() && rest.contains(&"k/131x".to_owned()), "{rest:?}");

    page.list_live("many/").await;
    page.wait_for(&note_is("No keys found.")).await;
    for number in 0..1010 {
        socket.send(&json!({ "key": format!("many/{number:04}"), "value": "1" }).to_string()).await;
    }
    page.wait_for(&note_is("The first 1000 keys. Type a longer prefix to see others.")).await;
    assert_eq!(page.eval("document.querySelector('#more').hidden").await, true);
    let last = "document.querySelector('#items').lastChild.key";
    assert_eq!(page.eval(last).await, "many/0999");
    // Rows beyond the last one do not come back.
    for key in ["many/0000x", "many/zz"] {
        socket.send(&json!({ "key": key, "value": "1" }).to_string()).await;
    }
    page.wait_for(&format!("{last} === 'many/0998'")).await;
}

async fn a_lost_stream_is_shown_and_resumed_without_a_loss(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let mut socket = page.system.socket().await;
    socket.set("k/a", "1").await;
    socket.set("k/b", "1").await;
    page.list_live("k/").await;
    page.wait_for(&rows_are(&[("k/a", "1"), ("k/b", "1")])).await;
    page.system.writer.kill();
    page.wait_for(LOST).await;
    let note = page.text("live").await;
    assert!(note.starts_with("not live: ") && note.ends_with("; trying again"), "{note}");
    page.wait_for(&rows_are(&[("k/a", "1"), ("k/b", "1")])).await;

    // Another process writes while the page is away.
    let mut env = page.system.database.env(Role::Writer);
    let other = ServiceProcess::start("keywire", &env);
    other.ready().await;
    let mut socket = e2e::Socket::open(other.public).await;
    socket.ask(json!({ "op": "delete", "key": "k/a" }).to_string()).await;
    socket.set("k/c", "2").await;
    env.push(("LISTEN_ADDR".into(), page.system.http().to_string()));
    page.system.writer = ServiceProcess::start("keywire", &env);
    page.wait_for(LIVE).await;
    page.wait_for(&rows_are(&[("k/b", "1"), ("k/c", "2")])).await;
    let requests = page.browser.requests().await;
    let resumed = requests.iter().rfind(|url| url.contains("/watch?"));
    assert!(resumed.is_some_and(|url| url.contains("&after=")), "{resumed:?}");
}

async fn a_list_without_a_log_of_changes_says_that_it_is_not_live(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let system = System::start_with_settings(engine, &[("CHANGES_RETENTION_S", "0")]).await;
    let mut page = Console { browser: Browser::start().await, system };
    page.browser.goto(&format!("http://{}/", page.system.http())).await;
    page.wait_for(super::CONNECTED).await;
    page.write().await;
    page.browser.click("#list button").await;
    page.wait_for(&rows_are(&[("hello", "world")])).await;
    page.wait_for("document.querySelector('#live').textContent === 'not live: changes are not logged'").await;
    page.fill("hello", "again").await;
    page.write().await;
    page.wait_for(&note_is("Keys were written since. Press List.")).await;
    page.browser.click("#list button").await;
    page.wait_for(&rows_are(&[("hello", "again")])).await;
}

async fn a_list_is_read_with_the_token_of_the_page(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let tokens = Tokens::new();
    let token = tokens.make("page", &["--read", "k/", "--write", "k/"]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let proxy = SubpathProxy::start(system.http(), "/kv").await;
    let mut page = Console { browser: Browser::start().await, system };
    let home = format!("http://{}/kv/", proxy.addr);
    page.browser.goto(&home).await;
    page.eval(&format!("sessionStorage.setItem('token', '{token}')")).await;
    page.browser.goto(&home).await;
    page.wait_for(super::CONNECTED).await;
    page.list_live("k/").await;
    page.fill("k/1", "one").await;
    page.write().await;
    page.wait_for(&rows_are(&[("k/1", "one")])).await;
    let requests = page.browser.requests().await;
    assert!(!requests.iter().any(|url| url.contains(&token)), "{requests:?}");

    page.browser.fill("#prefix", "").await;
    page.browser.click("#list button").await;
    page.wait_for("document.querySelector('#live').textContent === 'not live: this token may not read here'")
        .await;
}
