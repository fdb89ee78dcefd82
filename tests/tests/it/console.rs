//! The page at `/` in a real browser, used as on a first visit.

mod docs;
mod keys;
mod layout;
mod live;
mod refused;
mod subpath;
mod token;

use std::process::Command;

use e2e::{Browser, EngineKind, PATIENCE, Role, ServiceProcess, System, eventually, get, skip};
use serde_json::{Value, json};

e2e::promises! {
    sqlite:
        two_clicks_show_the_whole_idea,
        the_typed_text_is_sent_exactly,
        odd_keys_come_back,
        a_refusal_is_shown_and_the_page_goes_on,
        every_control_has_a_name,
        every_link_has_a_target,
        the_page_says_that_the_server_is_gone_and_comes_back_by_itself,
        the_commands_to_copy_mean_the_same_in_a_shell,
        the_page_keeps_a_strict_policy_and_talks_to_nobody_else;
}

const CONNECTED: &str = "document.querySelector('#state').className === 'open'";
const GONE: &str = "document.querySelector('#state').className === 'lost'";
const WRITTEN: &str = "document.querySelector('#reply').matches('.good, .bad')";
const FOUND: &str = "document.querySelector('#status').className === 'good'";

/// A fresh system and its page in a browser.
struct Console {
    browser: Browser,
    system: System,
}

impl Console {
    /// Opens the page and waits until it is connected. `None` without a browser.
    async fn open(engine: EngineKind) -> Option<Self> {
        if let Err(reason) = Browser::available() {
            skip(&reason);
            return None;
        }
        let system = System::start(engine).await;
        let mut browser = Browser::start().await;
        browser.goto(&format!("http://{}/", system.http())).await;
        browser.wait_for(CONNECTED, PATIENCE).await;
        Some(Self { browser, system })
    }

    async fn fill(&mut self, key: &str, value: &str) {
        self.browser.fill("#key", key).await;
        self.browser.fill("#value", value).await;
    }

    /// Clicks Write and waits for the outcome. Returns it.
    async fn write(&mut self) -> String {
        self.browser.click("#write").await;
        self.browser.wait_for(WRITTEN, PATIENCE).await;
        self.text("reply").await
    }

    /// Clicks Read and waits for the response. Returns its body.
    async fn read(&mut self) -> Value {
        self.browser.click("#read").await;
        self.browser.wait_for(FOUND, PATIENCE).await;
        let body = self.text("found").await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    async fn text(&mut self, id: &str) -> String {
        self.browser.text(&format!("#{id}")).await
    }

    /// Checks that the browser has reported no problem, and that the page asked only the system.
    async fn is_clean(&mut self) {
        assert_eq!(self.browser.complaints().await, [""; 0]);
        let requests = self.browser.requests().await;
        let seen = requests.iter().any(|url| url.starts_with("ws://"));
        assert!(seen, "the socket is among them: {requests:?}");
        let ours = ["http", "ws"].map(|scheme| format!("{scheme}://{}/", self.system.http()));
        for url in requests {
            let is_ours = ours.iter().any(|ours| url.starts_with(ours));
            assert!(is_ours || url.starts_with("data:"), "it asked for {url}");
        }
    }
}

/// The reply to the first write of `key`.
fn created(key: &str) -> String {
    format!("{{\"message\":{},\"status\":200}}", json!(format!("{key} created")))
}

async fn two_clicks_show_the_whole_idea(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    assert_eq!(page.write().await, created("hello"));
    assert_eq!(page.text("sent").await, r#"{"key":"hello","value":"world"}"#);
    let body = json!({ "key": "hello", "value": "world", "message": "", "status": 200 });
    assert_eq!(page.read().await, body);
    assert_eq!(page.text("asked").await, "GET /storage/hello");
    assert_eq!(page.text("status").await, "200 OK");

    let tag = page.text("etag").await;
    let rev = tag.trim_matches('"').parse().unwrap_or(0_u64);
    assert!(rev > 0 && tag == format!("\"{rev}\""), "{tag}");
    for id in ["write-time", "read-time"] {
        let time = page.text(id).await;
        let decimals = time.strip_suffix(" ms").and_then(|ms| ms.split_once('.'));
        assert!(decimals.is_some_and(|(_, two)| two.len() == 2), "{time}");
    }
    let rows = "[...document.querySelectorAll('#log b')].map(what => what.textContent)";
    let rows = page.browser.eval(rows).await;
    assert_eq!(rows, json!(["http ←", "http →", "ws ←", "ws →", "ws open"]));
}

async fn the_typed_text_is_sent_exactly(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    page.fill("it's \"quoted\" \\", "two\nlines").await;
    assert_eq!(page.write().await, created("it's \"quoted\" \\"));
    let sent = r#"{"key":"it's \"quoted\" \\","value":"two\nlines"}"#;
    assert_eq!(page.text("sent").await, sent);
    assert_eq!(page.read().await["value"], "two\nlines");
}

async fn odd_keys_come_back(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    for key in ["..", ".", "...", "a/b é 😀", "a/../b", "%2e%2e", "?key=x#y&z", " a ", "+"] {
        let value = format!("the value of {key}");
        page.fill(key, &value).await;
        assert_eq!(page.write().await, created(key));
        let body = page.read().await;
        // `.` and `..` are read through the query, and the response is a list.
        let entry = body.get("items").map_or(&body, |items| &items[0]);
        assert_eq!((&entry["key"], &entry["value"]), (&json!(key), &json!(value)));
    }
}

async fn a_refusal_is_shown_and_the_page_goes_on(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    page.fill("", "x").await;
    let reply = page.write().await;
    assert!(reply.contains(r#""status":422,"code":"bad_key""#), "{reply}");
    let looks_bad = "document.querySelector('#reply').className === 'bad'";
    assert_eq!(page.browser.eval(looks_bad).await, true);
    page.fill("after", "x").await;
    assert_eq!(page.write().await, created("after"));
}

async fn every_control_has_a_name(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let nameless = "[...document.querySelectorAll('a, button, input, textarea')]\
        .filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.hidden)).map(e => e.outerHTML)";
    assert_eq!(page.browser.eval(nameless).await, json!([]));
    let used = "document.querySelectorAll('a, button, input, textarea').length";
    assert!(page.browser.eval(used).await.as_u64().is_some_and(|number| number > 15));
}

async fn every_link_has_a_target(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    page.write().await;
    let links = "[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))";
    let links = page.browser.eval(links).await;
    assert_eq!(
        links,
        json!(["/docs", "/openapi.json", "/ws/asyncapi.yaml", "/watch/asyncapi.yaml", "/export"])
    );
    let fetched = "Promise.all([...document.querySelectorAll('a')].map(async link => {\
        const answer = await fetch(link); return `${answer.status} ${(await answer.text()).length > 20}`; }))";
    assert_eq!(page.browser.eval(fetched).await, json!(vec!["200 true"; 5]));
}

async fn the_page_says_that_the_server_is_gone_and_comes_back_by_itself(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    page.system.writer.kill();
    page.browser.wait_for(GONE, PATIENCE).await;
    assert_eq!(page.write().await, "Not sent: the socket is not open.");
    let mut env = page.system.database.env(Role::Writer);
    env.push(("LISTEN_ADDR".into(), page.system.http().to_string()));
    page.system.writer = ServiceProcess::start("keywire", &env);
    page.browser.wait_for(CONNECTED, PATIENCE).await;
    assert_eq!(page.write().await, created("hello"));
}

async fn the_commands_to_copy_mean_the_same_in_a_shell(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let public = page.system.http();

    page.fill("it's $HOME `x` \\ \"!!\" é", "a\\nb\nc%s").await;
    page.write().await;
    let command = page.text("write-command").await;
    let (print, send) = command.rsplit_once(" | ").expect("a pipe");
    assert_eq!(send, format!("websocat -n1 'ws://{public}/ws/storage/'"));
    assert_eq!(printed_by(print), format!("{}\n", page.text("sent").await));

    page.read().await;
    let command = page.text("read-command").await;
    let url = command.strip_prefix("curl -i --path-as-is ").expect("curl");
    let url = printed_by(&format!("printf %s {url}"));
    let path = url.strip_prefix(&format!("http://{public}")).expect("the page's own origin");
    assert_eq!(format!("GET {path}"), page.text("asked").await);
}

/// The output of `command` in a shell.
fn printed_by(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("there is a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

async fn the_page_keeps_a_strict_policy_and_talks_to_nobody_else(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };

    let response = get(page.system.http(), "/").await;
    let policy = response.header("content-security-policy").expect("a page has a policy");
    let rules = ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-"];
    assert!(rules.iter().all(|rule| policy.contains(rule)), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");

    page.write().await;
    page.read().await;
    page.is_clean().await;
    // A violation of the policy is noticed. Without this check the line above would prove nothing.
    page.browser.eval("document.body.setAttribute('style', 'color: red')").await;
    eventually("the breach is reported", PATIENCE, async || {
        let complaints = page.browser.complaints().await;
        if complaints.len() == 1 { Ok(()) } else { Err(format!("{complaints:?}")) }
    })
    .await;
}
