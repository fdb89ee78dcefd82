//! The page `/docs`.

use e2e::{Browser, EngineKind, PATIENCE, get, promises};
use serde_json::json;

use super::Console;

promises! {
    sqlite:
        the_documentation_works_without_a_network,
        every_operation_can_be_tried_out_as_it_stands,
        the_documentation_fits_a_phone_and_has_dark_colors;
}

/// Opens the operation GET `path`, as `#it`, until it can be executed.
pub(super) async fn open(browser: &mut Browser, path: &str) {
    let operation = format!("document.querySelector('.opblock-get [data-path={}]')", json!(path));
    browser.wait_for(&operation, PATIENCE).await;
    let mark = format!(
        "document.querySelectorAll('#it').forEach(old => old.removeAttribute('id')), {operation}.closest('.opblock').id = 'it'"
    );
    browser.eval(&mark).await;
    for step in ["#it .opblock-summary-control", "#it .try-out__btn"] {
        browser.wait_for(&format!("document.querySelector('{step}')"), PATIENCE).await;
        browser.click(step).await;
    }
    browser.wait_for("document.querySelector('#it .execute')", PATIENCE).await;
}

/// Executes the operation `#it`. Returns its status and the body.
pub(super) async fn execute(browser: &mut Browser) -> String {
    browser.click("#it .execute").await;
    let answered = "document.querySelector('#it .live-responses-table .highlight-code')";
    browser.wait_for(answered, PATIENCE).await;
    browser.text("#it .live-responses-table tbody").await
}

async fn the_documentation_works_without_a_network(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let public = page.system.http();
    page.write().await;

    page.browser.goto(&format!("http://{public}/docs")).await;
    let shown = "[...document.querySelectorAll('.opblock-summary-path')].map(e => e.dataset.path)";
    page.browser.wait_for(&format!("{shown}.includes('/storage/{{key}}')"), PATIENCE).await;
    let shown = page.browser.eval(shown).await;
    let shown = shown.as_array().expect("the script makes a list");
    let specification = get(public, "/openapi.json").await.json();
    let paths = specification["paths"].as_object().expect("a specification has paths");
    for path in paths.keys() {
        assert!(shown.contains(&json!(path)), "{path} is not in {shown:?}");
    }
    open(&mut page.browser, "/storage/{key}").await;
    page.browser.fill("#it [data-param-name=key] input", "hello").await;
    let response = execute(&mut page.browser).await;
    assert!(response.contains("\"value\": \"world\""), "{response}");
    page.is_clean().await;
}

async fn every_operation_can_be_tried_out_as_it_stands(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let public = page.system.http();
    page.write().await;
    page.browser.goto(&format!("http://{public}/docs")).await;
    // The example of a required parameter is filled in: the key `hello`. Nothing else is.
    for path in ["/storage/{key}", "/storage", "/export"] {
        open(&mut page.browser, path).await;
        page.browser.click("#it .execute").await;
        let status =
            "document.querySelector('#it .live-responses-table .response .response-col_status')?.textContent";
        page.browser.wait_for(&format!("/200/.test({status})"), PATIENCE).await;
    }
    // A client that sends every default gets no 422 either.
    let specification = get(public, "/openapi.json").await.json();
    let parameters = specification["paths"]["/storage"]["get"]["parameters"].as_array().expect("parameters");
    assert!(
        parameters.iter().all(|parameter| parameter["schema"].get("default").is_none()),
        "{parameters:?}"
    );
    page.is_clean().await;
}

async fn the_documentation_fits_a_phone_and_has_dark_colors(engine: EngineKind) {
    let Some(mut page) = Console::open(engine).await else { return };
    let public = page.system.http();
    page.browser.goto(&format!("http://{public}/docs")).await;
    page.browser.resize(390, 844).await;
    open(&mut page.browser, "/storage").await;
    execute(&mut page.browser).await;
    let wide = page.browser.eval("document.documentElement.scrollWidth").await;
    assert!(wide.as_u64().is_some_and(|wide| wide <= 390), "{wide}");

    let colors = "getComputedStyle(document.documentElement).filter.includes('invert')";
    for (scheme, is_dark) in [("light", false), ("dark", true)] {
        page.browser.prefer(scheme).await;
        assert_eq!(page.browser.eval(colors).await, is_dark, "{scheme}");
        // A dialog stays in the window, wherever the page is scrolled to.
        page.browser.eval("document.querySelector('.btn.authorize').click()").await;
        page.browser.wait_for("document.querySelector('.modal-ux')", PATIENCE).await;
        page.browser.eval("scrollTo(0, document.body.scrollHeight)").await;
        let place = "(({ top, bottom }) => top >= 0 && bottom <= innerHeight)(document.querySelector('.modal-ux').getBoundingClientRect())";
        assert_eq!(page.browser.eval(place).await, true, "{scheme}");
        page.browser.eval("document.querySelector('.close-modal').click()").await;
    }
    let links = "Promise.all([...document.querySelectorAll('nav a')].map(async link => \
        `${link.getAttribute('href')} ${(await fetch(link)).status}`))";
    let links = page.browser.eval(links).await;
    assert_eq!(links, json!(["./ 200", "openapi.json 200", "ws/asyncapi.yaml 200"]));
    page.is_clean().await;
}
