//! A real browser without a window, driven over its debugging protocol.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::patience::{PATIENCE, eventually, within};

/// The names of the browser in different distributions.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// No sandbox, since tests may run as root. No resolver, so that no other machine can be reached; the name evil.test is this machine.
const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// A browser with one page, and all events of the page.
#[derive(Debug)]
pub struct Browser {
    /// Dropped before the profile: the browser must not write into it any more.
    _group: Group,
    stream: WebSocketStream<TcpStream>,
    /// The debugging session of the page.
    session: String,
    /// The id of the last command sent.
    id: u64,
    /// Every event so far, in order.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Whether there is a browser.
    ///
    /// # Errors
    /// No known browser is in `PATH`. The error lists the names.
    pub fn available() -> Result<(), String> {
        found().map(drop).ok_or_else(|| format!("no browser: none of {NAMES:?} is in PATH"))
    }

    /// Starts a browser with a fresh profile and an empty page.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let errors = File::create(profile.path().join("stderr")).expect("the folder is ours");
        let child = Command::new(found().expect("asked only where a browser is available"))
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the browser can be started");
        let group = Group(child);
        let stream = connect(&profile).await;
        let mut browser = Self {
            _group: group,
            stream,
            session: String::new(),
            id: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let page = browser.command("Target.createTarget", json!({ "url": "about:blank" })).await;
        let target = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.command("Target.attachToTarget", target).await;
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.command(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Opens `url` and waits until it is loaded.
    pub async fn goto(&mut self, url: &str) {
        // The mark distinguishes the current page from the next one, even if both have the same address.
        self.eval("window.before = true").await;
        let answer = self.command("Page.navigate", json!({ "url": url })).await;
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        self.wait_for("!window.before && document.readyState === 'complete'", PATIENCE).await;
    }

    /// The value of the expression `js`. A promise is awaited.
    pub async fn eval(&mut self, js: &str) -> Value {
        let how = json!({ "expression": js, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.command("Runtime.evaluate", how).await;
        assert!(answer.get("exceptionDetails").is_none(), "{js}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until the expression `js` is true. A failure shows the text of the page.
    pub async fn wait_for(&mut self, js: &str, limit: Duration) {
        let look = format!("({js}) ? null : document.body?.innerText ?? ''");
        eventually(js, limit, async || match self.eval(&look).await {
            Value::Null => Ok(()),
            page => Err(format!("the page shows {page}")),
        })
        .await;
    }

    /// The text of the only element that `selector` names.
    pub async fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("{}.textContent", element(selector))).await;
        text.as_str().expect("an element has text").to_owned()
    }

    /// Replaces the content of a field by `text`, as typing or pasting does.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        let field = element(selector);
        self.eval(&format!("{field}.focus(), {field}.select()")).await;
        // Inserting an empty text would keep the selected text.
        match text {
            "" => drop(self.eval("document.execCommand('delete')").await),
            _ => drop(self.command("Input.insertText", json!({ "text": text })).await),
        }
    }

    /// Clicks in the middle of an element, even if another element covers it.
    pub async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(e => {{ e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const r = e.getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2]; }})({})",
            element(selector)
        );
        let middle = self.eval(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let (x, y) = (&middle[0], &middle[1]);
            let press = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", press).await;
        }
    }

    /// Gives the page a window of this size.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Gives the user a preference for `light` or `dark` colors.
    pub async fn prefer(&mut self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": feature })).await;
    }

    /// All complaints of the page so far: exceptions, errors, warnings and policy violations.
    pub async fn complaints(&mut self) -> Vec<String> {
        // The answer to a command comes after all earlier events.
        self.eval("null").await;
        let is_bad = |level: &Value| matches!(level.as_str(), Some("error" | "warning" | "assert"));
        let complains = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => is_bad(&event["params"]["type"]),
            Some("Log.entryAdded") => is_bad(&event["params"]["entry"]["level"]),
            _ => false,
        };
        self.events
            .iter()
            .filter(complains)
            .map(|event| event["params"].to_string())
            // If a page names no icon, the browser asks for this one by itself.
            .filter(|complaint| !complaint.contains("/favicon.ico\""))
            .collect()
    }

    /// The addresses of all network requests of the page so far, sockets included.
    pub async fn requests(&mut self) -> Vec<String> {
        self.eval("null").await;
        let address = |event: &Value| {
            match event["method"].as_str() {
                Some("Network.requestWillBeSent") => event["params"]["request"]["url"].as_str(),
                Some("Network.webSocketCreated") => event["params"]["url"].as_str(),
                _ => None,
            }
            .map(str::to_owned)
        };
        self.events.iter().filter_map(address).collect()
    }

    /// Sends one command and waits for its answer. Events that come before the answer are kept.
    async fn command(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let mut command = json!({ "id": self.id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        let exchange = async {
            let message = Message::text(command.to_string());
            self.stream.send(message).await.expect("the browser is there");
            loop {
                let message = self.stream.next().await.expect("the browser is there");
                let text = message.expect("the browser is there").into_text();
                let text = text.expect("the protocol is text");
                let mut message: Value = serde_json::from_str(&text).expect("the protocol is JSON");
                if message["id"] == self.id {
                    assert!(message.get("error").is_none(), "{method}: {message}");
                    return message["result"].take();
                }
                self.events.push(message);
            }
        };
        within(method, PATIENCE, exchange).await
    }
}

/// The leader of the process group of the browser. Dropping it ends all processes of the group.
#[derive(Debug)]
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        // If there is no such group, it has ended already. A panic in a drop would hide the first failure.
        drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        drop(self.0.wait());
    }
}

/// The path of the browser, if there is one.
fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// Connects to the debugging socket. The browser writes its address into the profile.
async fn connect(profile: &TempDir) -> WebSocketStream<TcpStream> {
    let (port, path) = eventually("the browser opens its port", PATIENCE * 2, async || {
        let file = std::fs::read_to_string(profile.path().join("DevToolsActivePort"));
        let address = file.map_err(|error| error.to_string()).and_then(|text| {
            let (port, path) = text.split_once('\n').ok_or("half written")?;
            let port: u16 = port.parse().map_err(|_| "half written")?;
            Ok((port, path.trim().to_owned()))
        });
        address.map_err(|why| {
            let said = std::fs::read_to_string(profile.path().join("stderr")).unwrap_or_default();
            format!("{why}; it said: {said}")
        })
    })
    .await;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect(addr).await.expect("the browser listens");
    let open = tokio_tungstenite::client_async(format!("ws://{addr}{path}"), stream);
    within("opening the debugging socket", PATIENCE, open).await.expect("the browser answers").0
}

/// The expression that finds one element.
fn element(selector: &str) -> String {
    format!("document.querySelector({})", json!(selector))
}
