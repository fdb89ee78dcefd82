//! More features of the page: conditions, deletes, expiry, lists.

use e2e::{EngineKind, PATIENCE, eventually};
use serde_json::json;

use super::{Console, FOUND};

e2e::promises! {
    sqlite:
        the_rev_last_seen_is_offered_as_a_condition,
        a_deleted_key_is_absent_and_can_be_written_if_absent,
        a_ttl_in_seconds_ends_an_entry,
        a_list_goes_on_page_by_page_and_leads_to_each_key;
}

impl Console {
    /// Clicks the button that shows the last rev. Returns the rev.
    async fn take_offer(&mut self) -> String {
        self.browser.wait_for("!document.querySelector('#offer').hidden", PATIENCE).await;
        self.browser.click("#offer").await;
        let rev = self.browser.eval("document.querySelector('#if-rev').value").await;
        rev.as_str().expect("a field holds text").to_owned()
    }

    /// Clicks `button` and waits until the note of the list is `what`. If `what` is empty, waits until the list has keys. Returns the keys
    /// in the list.
    pub(super) async fn list(&mut self, button: &str, what: &str) -> Vec<String> {
        self.browser.click(button).await;
        let listed = match what {
            "" => "document.querySelector('#items').children.length".into(),
            _ => format!("document.querySelector('#listed').textContent === {}", json!(what)),
        };
        self.browser.wait_for(&listed, PATIENCE).await;
        let keys = "[...document.querySelectorAll('#items button')].map(key => key.textContent)";
        serde_json::from_value(self.browser.eval(keys).await).expect("the script makes a list")
    }
}

async fn the_rev_last_seen_is_offered_as_a_condition(engine: EngineKind) {
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
    // The same condition again, which is false now.
    let reply = page.write().await;
    assert!(reply.contains(&format!(r#""code":"rev_mismatch","rev":{newer}}}"#)), "{reply}");
    assert_eq!(page.take_offer().await, newer);
    let reply = page.write().await;
    assert!(reply.contains("hello updated"), "{reply}");
    // The rev of one key is not offered for another key.
    page.fill("other", "x").await;
    assert_eq!(page.browser.eval("document.querySelector('#offer').hidden").await, true);
}

async fn a_deleted_key_is_absent_and_can_be_written_if_absent(engine: EngineKind) {
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

async fn a_ttl_in_seconds_ends_an_entry(engine: EngineKind) {
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

async fn a_list_goes_on_page_by_page_and_leads_to_each_key(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let keys: Vec<_> = (10..55).map(|number| format!("user/é {number}")).collect();
    let mut socket = page.system.socket().await;
    for key in keys.iter().map(String::as_str).chain(["another", "user"]) {
        socket.set(key, &format!("the value of {key}")).await;
    }
    page.browser.fill("#prefix", "user/").await;
    assert_eq!(page.list("#list button", "20 keys so far.").await, keys[..20]);
    assert_eq!(page.list("#more", "40 keys so far.").await, keys[..40]);
    assert_eq!(page.list("#more", "45 keys in total.").await, keys);
    assert_eq!(page.browser.eval("document.querySelector('#more').hidden").await, true);

    page.browser.click("#items tr:nth-child(42) button").await;
    page.browser.wait_for(FOUND, PATIENCE).await;
    assert_eq!(page.text("asked").await, "GET /storage/user%2F%C3%A9%2051");
    let fields = "['key', 'value'].map(id => document.getElementById(id).value)";
    assert_eq!(page.browser.eval(fields).await, json!(["user/é 51", "the value of user/é 51"]));

    page.browser.fill("#prefix", "nobody").await;
    assert_eq!(page.list("#list button", "No keys found.").await, [""; 0]);
    page.browser.fill("#prefix", "").await;
    assert_eq!(page.list("#list button", "20 keys so far.").await[0], "another");
    page.is_clean().await;
}
