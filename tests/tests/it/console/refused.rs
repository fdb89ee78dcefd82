//! The page of a service that refuses its socket.

use e2e::{Browser, EngineKind, PATIENCE, Role, ServiceProcess, System, Tokens, promises, skip};

promises! {
    sqlite:
        the_page_says_why_its_socket_is_refused;
}

fn shows(text: &str) -> String {
    format!("document.querySelector('#state').textContent === '{text}'")
}

async fn the_page_says_why_its_socket_is_refused(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let tokens = Tokens::new();
    let token = tokens.make("page", &["--read", "", "--write", ""]);
    let mut system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let (public, port) = (system.http(), system.http().port());
    let mut browser = Browser::start().await;
    // With tokens, a page is served under any name. Its socket is not.
    browser.goto(&format!("http://evil.test:{port}/")).await;
    let refused = format!(
        "the origin http://evil.test:{port} is not allowed: add evil.test to PUBLIC_HOSTS, or the origin to ALLOWED_ORIGINS"
    );
    browser.wait_for(&shows(&refused), PATIENCE).await;
    // A token does not help: the page would be refused all the same.
    browser.eval(&format!("sessionStorage.setItem('token', '{token}')")).await;
    browser.goto(&format!("http://evil.test:{port}/?again")).await;
    browser.wait_for(&shows(&refused), PATIENCE).await;
    browser.click("#write").await;
    assert_eq!(browser.text("#reply").await, format!("Not sent: {refused}."));

    // When the setting is right, the page connects by itself.
    system.writer.kill();
    let mut env = system.database.env(Role::Writer);
    env.push(("TOKENS_FILE".into(), tokens.file()));
    env.push(("PUBLIC_HOSTS".into(), "evil.test".into()));
    env.push(("LISTEN_ADDR".into(), public.to_string()));
    system.writer = ServiceProcess::start("keywire", &env);
    browser.wait_for(super::CONNECTED, PATIENCE * 2).await;
}
