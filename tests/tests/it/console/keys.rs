//! The page beyond a write and a read: conditions, deletes, expiry.

use e2e::{Engine, PATIENCE, eventually};

use super::Console;

e2e::promises!(sqlite:
    the_rev_last_seen_is_offered_as_a_condition,
    a_deleted_key_is_absent_and_can_be_written_only_if_it_is,
    a_ttl_in_seconds_ends_an_entry,
);

impl Console {
    /// Clicks the button with the rev last seen and answers it.
    async fn take_offer(&mut self) -> String {
        self.browser.wait_for("!document.querySelector('#offer').hidden", PATIENCE).await;
        self.browser.click("#offer").await;
        let rev = self.browser.eval("document.querySelector('#if-rev').value").await;
        rev.as_str().expect("a field holds text").to_owned()
    }
}

async fn the_rev_last_seen_is_offered_as_a_condition(engine: Engine) {
    let Some(mut page) = Console::open(engine).await else { return };
    assert_eq!(page.browser.eval("document.querySelector('#offer').hidden").await, true);
    page.write().await;
    page.read().await;
    let rev = page.take_offer().await;
    assert_eq!(page.text("etag").await, format!("\"{rev}\""));

    let reply = page.write().await;
    let sent = page.text("sent").await;
    assert_eq!(sent, format!(r#"{{"key":"hello","value":"world","if_rev":{rev}}}"#));
    let newer = reply.strip_prefix(r#"{"message":"hello updated","status":200,"rev":"#);
    let newer = newer.and_then(|rest| rest.strip_suffix('}')).unwrap_or_else(|| panic!("{reply}")).to_owned();
    // Once more with the old one.
    let reply = page.write().await;
    assert!(reply.contains(&format!(r#""code":"rev_mismatch","rev":{newer}}}"#)), "{reply}");
    assert_eq!(page.take_offer().await, newer);
    let reply = page.write().await;
    assert!(reply.contains("hello updated"), "{reply}");
    // The rev of one key is none of another.
    page.fill("other", "x").await;
    assert_eq!(page.browser.eval("document.querySelector('#offer').hidden").await, true);
}

async fn a_deleted_key_is_absent_and_can_be_written_only_if_it_is(engine: Engine) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.write().await;
    page.browser.click("#delete").await;
    page.browser
        .wait_for("/hello deleted/.test(document.querySelector('#reply').textContent)", PATIENCE)
        .await;
    assert_eq!(page.text("sent").await, r#"{"op":"delete","key":"hello"}"#);
    page.browser.click("#read").await;
    page.browser.wait_for("document.querySelector('#status').className === 'bad'", PATIENCE).await;
    assert_eq!(page.text("found").await, r#"{"message":"No value found for key hello","status":404}"#);

    assert_eq!(page.take_offer().await, "0");
    let reply = page.write().await;
    assert!(reply.starts_with(r#"{"message":"hello created","status":200,"rev":"#), "{reply}");
    let reply = page.write().await;
    assert!(reply.contains(r#""status":412"#), "{reply}");
}

async fn a_ttl_in_seconds_ends_an_entry(engine: Engine) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.browser.fill("#ttl", "soon").await;
    let reply = page.write().await;
    assert!(reply.contains(r#""status":422,"code":"bad_ttl""#), "{reply}");
    page.browser.fill("#ttl", "2").await;
    page.write().await;
    assert_eq!(page.text("sent").await, r#"{"key":"hello","value":"world","ttl":2}"#);
    page.read().await;
    eventually("it is gone", PATIENCE, async || {
        page.browser.click("#read").await;
        page.browser.wait_for("document.querySelector('#status').matches('.good, .bad')", PATIENCE).await;
        let status = page.text("status").await;
        if status == "404 Not Found" { Ok(()) } else { Err(status) }
    })
    .await;
}
