//! The pages behind a proxy that serves them under a path.

use e2e::{Browser, EngineKind, PATIENCE, SubpathProxy, System, promises, skip};
use serde_json::json;

use super::{CONNECTED, Console, created, docs};

promises! {
    sqlite:
        behind_a_proxy_that_takes_a_path_away_everything_works;
}

async fn behind_a_proxy_that_takes_a_path_away_everything_works(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let system = System::start(engine).await;
    let proxy = SubpathProxy::start(system.http(), "/kv").await;
    let mut page = Console { browser: Browser::start().await, system };
    // Some proxies do not add the slash.
    for home in ["/kv/", "/kv"] {
        page.browser.goto(&format!("http://{}{home}", proxy.addr)).await;
        page.browser.wait_for(CONNECTED, PATIENCE).await;
        page.fill(home, "world").await;
        assert_eq!(page.write().await, created(home));
        assert_eq!(page.read().await["value"], "world");
        let asked = page.text("asked").await;
        assert!(asked.starts_with("GET /kv/storage/"), "{asked}");
        let listed = page.list("#list button", "").await;
        assert!(listed.contains(&home.to_owned()), "{listed:?}");
        let fetched =
            "Promise.all([...document.querySelectorAll('a')].map(async link => (await fetch(link)).status))";
        assert_eq!(page.browser.eval(fetched).await, json!([200, 200, 200, 200, 200]), "{home}");
    }

    page.browser.goto(&format!("http://{}/kv/docs", proxy.addr)).await;
    docs::open(&mut page.browser, "/storage").await;
    let response = docs::execute(&mut page.browser).await;
    assert!(response.contains("\"/kv/\""), "{response}");
    let links =
        "Promise.all([...document.querySelectorAll('nav a')].map(async link => (await fetch(link)).status))";
    assert_eq!(page.browser.eval(links).await, json!([200, 200, 200]));
}
