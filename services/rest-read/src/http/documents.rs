//! The static documents: the console, the documentation and the specification. They load nothing from other servers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response, Result};
use sha2::{Digest as _, Sha256};

use crate::http::etag;

const CONSOLE: &str = include_str!("console.html");

/// The specification of the events of a watch. The end-to-end tests replay every example in it.
const EVENTS: &str = include_str!("../../../../openapi/rest-read.asyncapi.yaml");

/// A page may run exactly the scripts and styles that it contains, show images that it contains, and connect to its own
/// origin.
const POLICY: &str = "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A document that does not change while the process lives.
pub(crate) struct Document {
    content_type: HeaderValue,
    /// The hash of the body, without quotes.
    tag: String,
    /// Only for HTML.
    policy: Option<HeaderValue>,
    body: Bytes,
}

impl Document {
    /// The console: a page to write, read and list keys.
    pub(crate) fn console() -> Self {
        Self::html(CONSOLE)
    }

    /// An HTML page that contains all its scripts and styles.
    pub(crate) fn html(html: &str) -> Self {
        // Browsers normalize line ends before they hash.
        let html = html.replace("\r\n", "\n");
        let policy = format!(
            "{POLICY}; script-src {}; style-src {}",
            sources(inline(&html, "script")),
            sources(inline(&html, "style"))
        );
        Self {
            policy: Some(HeaderValue::try_from(policy).expect("hashes are header values")),
            ..Self::new("text/html; charset=utf-8", html)
        }
    }

    /// A JSON document.
    pub(crate) fn json(json: String) -> Self {
        Self::new("application/json; charset=utf-8", json)
    }

    /// The `AsyncAPI` specification of the events of a watch.
    pub(crate) fn events() -> Self {
        Self::new("application/yaml", EVENTS.to_owned())
    }

    fn new(content_type: &'static str, body: String) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self { content_type, tag: hash(&body), policy: None, body: body.into() }
    }
}

impl Endpoint for Document {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let tag = HeaderValue::try_from(format!("\"{}\"", self.tag)).expect("a hash is a header value");
        let mut response = Response::default();
        response.headers_mut().insert(header::ETAG, tag);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if etag::is_named(request.headers(), self.tag.as_bytes()) {
            response.set_status(StatusCode::NOT_MODIFIED);
            return Ok(response);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        if let Some(policy) = &self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        response.set_body(self.body.clone());
        Ok(response)
    }
}

/// The contents of all `name` elements of `html`. Only scripts and styles have contents that are not markup.
fn inline<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some((at, tag)) =
        ["script", "style"].into_iter().filter_map(|tag| Some((rest.find(&format!("<{tag}"))?, tag))).min()
    {
        let Some((_, content)) = rest[at..].split_once('>') else { break };
        let Some((content, after)) = content.split_once(&format!("</{tag}>")) else { break };
        if tag == name {
            found.push(content);
        }
        rest = after;
    }
    found
}

fn sources(contents: Vec<&str>) -> String {
    let hashes: Vec<String> =
        contents.into_iter().map(|content| format!("'sha256-{}'", hash(content))).collect();
    if hashes.is_empty() { "'none'".to_owned() } else { hashes.join(" ") }
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(page: &Document, if_none_match: &str) -> Response {
        let request = Request::builder().header(header::IF_NONE_MATCH, if_none_match).finish();
        page.call(request).await.expect("a page always answers")
    }

    #[tokio::test]
    async fn a_page_may_run_its_own_scripts_and_styles_and_no_others() {
        let html = "<style>a{}</style>\r\n<script type=x>let s = '<style>no</style>';\r\n</script><p><script>2</script>";
        assert_eq!(inline(html, "style"), ["a{}"]);
        assert_eq!(inline(html, "script"), ["let s = '<style>no</style>';\r\n", "2"]);

        let response = get(&Document::html(html), "").await;
        let policy = response.header("content-security-policy").expect("a page has a policy");
        // The first as browsers see it: printf "let s = '<style>no</style>';\n" | openssl dgst -sha256 -binary | base64
        let script = "script-src 'sha256-XsxBIJX49QwXkxKnujLOXzk8ZX5jkxTFPtf/Ui3vzwI=' 'sha256-1HNeOiZeFu7gP1lxi5tdAwGcB9i2xR+Q2jpmbuwTqzU='";
        assert!(policy.contains(script), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert!(Document::html("<p>").policy.is_some_and(|policy| {
            policy.to_str().is_ok_and(|policy| policy.ends_with("script-src 'none'; style-src 'none'"))
        }));
    }

    #[tokio::test]
    async fn a_page_the_browser_has_is_not_sent_again() {
        let page = Document::console();
        let response = get(&page, "\"other\"").await;
        assert_eq!(
            (response.status(), response.content_type()),
            (StatusCode::OK, Some("text/html; charset=utf-8"))
        );
        let tag = response.header("etag").expect("a page has a tag").to_owned();
        let body = response.into_body().into_string().await.expect("it is text");
        assert_eq!(body, CONSOLE);

        let response = get(&page, &tag).await;
        assert_eq!(
            (response.status(), response.header("etag")),
            (StatusCode::NOT_MODIFIED, Some(tag.as_str()))
        );
        assert!(response.into_body().into_string().await.expect("it is text").is_empty());
    }
}
