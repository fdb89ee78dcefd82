//! The page of a service that needs a token.

use e2e::{Browser, EngineKind, PATIENCE, System, Tokens, promises, skip};

use super::{CONNECTED, Console, FOUND, created, printed_by};

promises! {
    sqlite:
        the_page_asks_for_a_token_where_one_is_needed;
}

/// Leaves the field, which submits the token like Enter does.
const LEAVE: &str = "document.querySelector('#token').blur()";

async fn the_page_asks_for_a_token_where_one_is_needed(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let tokens = Tokens::new();
    let token = tokens.make("page", &["--read", "", "--write", "hello"]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let mut browser = Browser::start().await;
    browser.goto(&format!("http://{}/", system.http())).await;
    let asks = |why: &str| {
        format!(
            "document.querySelector('#state').textContent === '{why}' && !document.querySelector('#gate').hidden"
        )
    };
    browser.wait_for(&asks("a token is needed"), PATIENCE).await;
    let mut page = Console { browser, system };
    for wrong in ["no token", "unknown"] {
        page.browser.fill("#token", wrong).await;
        page.browser.eval(LEAVE).await;
        page.browser.wait_for(&asks("this token is not known"), PATIENCE).await;
    }
    page.browser.fill("#token", &token).await;
    page.browser.eval(LEAVE).await;
    page.browser.wait_for(CONNECTED, PATIENCE).await;

    assert_eq!(page.write().await, created("hello"));
    page.browser.click("#read").await;
    page.browser.wait_for(FOUND, PATIENCE).await;
    page.browser.fill("#key", "other").await;
    assert!(page.write().await.contains(r#""code":"forbidden""#));
    page.browser.fill("#key", "hello").await;
    for id in ["read-command", "write-command"] {
        assert!(
            !page.text(id).await.contains(&token),
            "commands are copied to places where no token should be"
        );
    }
    let command = page.text("read-command").await;
    let answer = printed_by(&format!("TOKEN={token}; {command}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let again = format!("http://{}/", page.system.http());
    page.browser.goto(&again).await;
    page.browser.wait_for(CONNECTED, PATIENCE).await;
}
