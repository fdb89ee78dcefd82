//! The page `/docs`: Swagger UI as the framework makes it, with a layout for phones, dark colors and links.

/// Added to the head: a width for phones, and dark colors.
///
/// Swagger UI has no dark theme. So the page is inverted, and `hue-rotate` brings the hues back. Code is dark already, so it is inverted
/// a second time. The filter is on `html`, because dialogs have a fixed position: with a filter on another element, they would stand in
/// the middle of that element and not of the window.
const HEAD: &str = r#"
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="data:,">
    <style>
body { margin: 0; }
nav { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; max-width: 1460px; margin: 0 auto; padding: 1rem 20px 0; box-sizing: border-box; font: .9375rem/1.5 system-ui, sans-serif; }
nav a { color: inherit; }
.swagger-ui, .swagger-ui .info a, .swagger-ui .opblock-summary-path { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  html { color-scheme: dark; background: #fff; color: #000; filter: invert(.92) hue-rotate(180deg); }
  body { color-scheme: light; }
  html .swagger-ui .dialog-ux .backdrop-ux { background: rgba(255, 255, 255, .8); }
  .highlight-code, .swagger-ui pre, .copy-to-clipboard, .download-contents { filter: invert(1) hue-rotate(180deg); }
  .highlight-code pre { filter: none; }
}
@media (max-width: 36rem) {
  .swagger-ui .parameters-col_name { width: auto; }
  .swagger-ui .opblock-summary-description { display: none; }
  .swagger-ui table.parameters, .swagger-ui table.parameters > tbody, .swagger-ui table.parameters tr, .swagger-ui table.parameters td { display: block; }
  .swagger-ui table.parameters thead, .swagger-ui .response-col_links { display: none; }
  .swagger-ui .parameters-col_description input, .swagger-ui .parameters-col_description select { max-width: 100%; }
}
    </style>"#;

/// Links that stay right behind a proxy that serves everything under a path.
const NAV: &str = r#"
<nav aria-label="Other pages"><a href="./">Console</a><a href="openapi.json">OpenAPI</a><a href="ws/asyncapi.yaml">AsyncAPI of the write socket</a></nav>"#;

/// The script that changes `spec` before the page shows it.
const PREPARE: &str = r"
    // Requests go to where this page comes from, also behind a proxy that serves everything under a path.
    spec.servers = [{ url: location.pathname.replace(/\/docs\/?$/, '') || '/' }];
    // Swagger UI fills each field with its example. Some optional parameters exclude each other, so optional fields get no example.
    for (const operations of Object.values(spec.paths)) {
        for (const { parameters = [] } of Object.values(operations)) {
            for (const { required, schema } of parameters) if (!required) delete schema.example;
        }
    }
";

/// Adds what is missing to `html`, the page that the framework makes.
///
/// # Panics
/// The page of the framework does not have the texts that this function replaces, as after an upgrade.
pub(crate) fn page(html: &str) -> String {
    let html = after(html, "<head>", HEAD);
    let html = after(&html, "</head>\n<body>", NAV);
    let start = "\n    SwaggerUIBundle({";
    assert_eq!(html.matches(start).count(), 1, "the page of the framework starts Swagger UI once");
    let html = html.replace(start, &format!("{PREPARE}{start}"));
    format!(
        "<!doctype html>{}",
        html.replace("<html charset=\"UTF-8\">", "<html lang=\"en\">")
            .replace("<title>Swagger UI</title>", "<title>Keywire: HTTP API</title>")
    )
}

/// `html` with `addition` after its first `tag`.
fn after(html: &str, tag: &str, addition: &str) -> String {
    let (before, rest) =
        html.split_once(tag).unwrap_or_else(|| panic!("the page of the framework has a {tag}"));
    format!("{before}{tag}{addition}{rest}")
}
