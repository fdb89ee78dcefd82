//! The routes as a client sees them, without a network.

use chassis::access::Access;
use chassis::edge::edge;
use chassis::edge::fast_path::FastPath as _;
use chassis::edge::origin::OriginRule;
use chassis::process::stop::Stop;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{EndpointExt as _, IntoResponse as _, Request};
use serde_json::{Value, json};

use super::*;
use crate::fixture::{TestDatabase, limits, local_peer};

/// The read side over a small database.
struct Client {
    reads: Reads,
    app: BoxEndpoint<'static>,
    telemetry: Telemetry,
    _database: TestDatabase,
}

/// The parts of a response that the tests compare.
#[derive(Debug, PartialEq, Eq)]
struct TestResponse {
    status: u16,
    etag: Option<String>,
    cache_control: Option<String>,
    body: String,
}

impl Client {
    async fn new(entries: &[(&str, &str)]) -> Self {
        let database = TestDatabase::holding(entries).await;
        let telemetry = Telemetry::new("test", None, &chassis::telemetry::ResourceAttributes::default())
            .expect("no collector is needed");
        let reads = Reads::start(&database.store, &limits(), &telemetry, &Stop::new());
        let app = edge(reads.app(), OriginRule::default(), Access::default(), &telemetry, Stop::new());
        Self { reads, app: app.boxed(), telemetry, _database: database }
    }

    async fn get(&self, target: &str) -> TestResponse {
        self.send(Method::GET, target, &[]).await
    }

    async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> TestResponse {
        let mut request =
            Request::builder().method(method.clone()).uri(target.parse().expect("a valid target"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let plain = method == Method::GET && !target.contains('?');
        let mut request = request.finish();
        let fields = request.headers().clone();
        request.headers_mut().insert("host", HeaderValue::from_static("a"));
        let response = self.app.call(request).await.expect("the edge always answers").into_response();
        let reply = TestResponse::of(response).await;
        let fast_path = self.reads.fast_path();
        let peer = local_peer();
        let caller = Access::default().caller(&fields, Some(&peer)).expect("everyone may do everything");
        let answer = plain.then(|| fast_path.answer(target, &fields, &caller)).flatten();
        assert_eq!(answer.is_some(), plain && is_on_fast_path(target, &fields), "{target}");
        if let Some(answer) = answer {
            let fast = TestResponse::of(answer.await).await;
            assert_eq!(fast, reply, "the fast path and the framework answer alike");
        }
        reply
    }
}

/// Whether the request is a get of one key without a condition.
fn is_on_fast_path(target: &str, headers: &HeaderMap) -> bool {
    let key = target.strip_prefix("/storage/").unwrap_or_default();
    !key.is_empty() && !key.contains('/') && headers.is_empty()
}

impl TestResponse {
    async fn of(response: Response) -> Self {
        let header = |name| response.header(name).map(ToOwned::to_owned);
        let (etag, cache_control) = (header("etag"), header("cache-control"));
        let json = header("content-type");
        assert!(
            response.status() == StatusCode::NOT_MODIFIED || json.is_some_and(|kind| kind.contains("json"))
        );
        let status = response.status().as_u16();
        let body = response.into_body().into_string().await.expect("it is text");
        Self { status, etag, cache_control, body }
    }

    fn refused(&self, status: u16, code: &str) {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        assert_eq!(
            (self.status, &problem["status"], &problem["code"]),
            (status, &json!(status), &json!(code)),
            "{self:?}"
        );
        assert_eq!(self.cache_control.as_deref(), Some("no-store"), "{self:?}");
    }

    fn refused_method(&self) {
        self.refused(405, "bad_method");
    }
}

#[tokio::test]
async fn a_get_is_answered_as_the_contract_says() {
    let client = Client::new(&[("hello", "world"), ("a/b", "\"x\""), (":key", "y")]).await;
    let found = client.get("/storage/hello").await;
    assert_eq!((found.status, found.cache_control.as_deref()), (200, Some("no-cache")));
    assert_eq!(found.body, r#"{"key":"hello","value":"world","message":"","status":200}"#);
    assert!(found.etag.is_some_and(|tag| tag.starts_with('"') && tag.len() > 2));
    let slash = client.get("/storage/a%2Fb").await;
    assert_eq!(slash.body, r#"{"key":"a/b","value":"\"x\"","message":"","status":200}"#);
    assert_eq!(client.get("/storage/:key").await.status, 200);

    let missing = client.get("/storage/hello%20").await;
    assert_eq!(missing.body, r#"{"message":"No value found for key hello ","status":404}"#);
    assert_eq!(
        (missing.status, missing.etag, missing.cache_control.as_deref()),
        (404, None, Some("no-store"))
    );
}

#[tokio::test]
async fn a_client_that_has_the_version_gets_a_304() {
    let client = Client::new(&[("hello", "world")]).await;
    let tag = client.get("/storage/hello").await.etag.expect("an entry has a tag");
    for fields in
        [&[("if-none-match", tag.as_str())][..], &[("if-none-match", "\"1\""), ("if-none-match", "*")]]
    {
        let same = client.send(Method::GET, "/storage/hello", fields).await;
        let (etag, cache_control) = (Some(tag.clone()), Some("no-cache".to_owned()));
        assert_eq!(same, TestResponse { status: 304, etag, cache_control, body: String::new() });
    }
    let other = client.send(Method::GET, "/storage/hello", &[("if-none-match", "\"1\"")]).await;
    assert_eq!(other.status, 200);
    let missing = client.send(Method::GET, "/storage/gone", &[("if-none-match", "*")]).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn many_keys_are_answered_in_the_order_asked() {
    let client = Client::new(&[("a", "1"), (".", "2")]).await;
    let found = client.get("/storage?key=.&key=b%2Fc&key=a&key=.").await;
    let rev = |key: &str| {
        let items: Value = serde_json::from_str(&found.body).unwrap_or_default();
        let item =
            items["items"].as_array().and_then(|items| items.iter().find(|item| item["key"] == key).cloned());
        item.and_then(|item| item["rev"].as_u64()).unwrap_or_default()
    };
    let expected = format!(
        r#"{{"items":[{{"key":".","value":"2","rev":{}}},{{"key":"a","value":"1","rev":{}}}],"missing":["b/c"],"message":"","status":200}}"#,
        rev("."),
        rev("a")
    );
    assert_eq!(found.body, expected);
    assert_eq!(client.get("/storage?key=a").await.status, 200);
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let client = Client::new(&[("b/2", "z"), ("b/1", "y"), ("a", "x"), ("b", "w"), ("c", "v")]).await;
    let mut target = "/storage?prefix=b&limit=2".to_owned();
    let mut keys = Vec::new();
    loop {
        let page = client.get(&target).await;
        assert_eq!((page.status, page.cache_control.as_deref()), (200, Some("no-cache")), "{page:?}");
        let json: Value = serde_json::from_str(&page.body).expect("a page is JSON");
        let items = json["items"].as_array().expect("items is a list");
        keys.extend(items.iter().map(|item| item["key"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = json["next"].as_str() else { break };
        target = format!("/storage?prefix=b&limit=2&after={next}");
    }
    assert_eq!(keys, ["b", "b/1", "b/2"]);
    client.get("/storage?prefix=b&limits=2").await.refused(422, "bad_parameter");
    let all = client.get("/storage").await;
    let all: Value = serde_json::from_str(&all.body).expect("a page is JSON");
    assert_eq!((all["items"].as_array().map(Vec::len), &all["next"]), (Some(5), &Value::Null));
    let none = client.get("/storage?prefix=nobody").await;
    assert_eq!(none.body, r#"{"items":[],"next":null,"message":"","status":200}"#);
}

#[tokio::test]
async fn an_export_is_a_line_for_each_entry() {
    let client = Client::new(&[("b", "\n"), ("a", "x"), ("c", "")]).await;
    let all = client.get("/export").await;
    assert_eq!((all.status, all.cache_control.as_deref()), (200, Some("no-store")));
    let lines = [
        "{\"key\":\"a\",\"value\":\"x\"}",
        "{\"key\":\"b\",\"value\":\"\\n\"}",
        "{\"key\":\"c\",\"value\":\"\"}",
    ];
    assert_eq!(all.body, lines.map(|line| format!("{line}\n")).concat());
    assert_eq!(client.get("/export?prefix=c").await.body, format!("{}\n", lines[2]));
    assert_eq!(client.get("/export?prefix=nobody").await.body, "");
    client.send(Method::POST, "/export", &[]).await.refused_method();
    client.get("/export/a").await.refused(404, "no_route");
}

#[tokio::test]
async fn an_invalid_request_is_refused_with_its_code() {
    let client = Client::new(&[]).await;
    for target in ["/storage/", "/storage/a/b", "/storage/a/", "//storage/a", "/nowhere", "/docs/x"] {
        client.get(target).await.refused(404, "no_route");
    }
    let long = "%C3%A9".repeat(257);
    for target in [format!("/storage/{long}"), format!("/storage?key=a&key={long}")] {
        let refused = client.get(&target).await;
        refused.refused(413, "too_large");
        assert!(refused.body.contains("514 bytes") && refused.body.contains("512"), "{}", refused.body);
    }
    client.get("/storage?key=").await.refused(422, "bad_key");
    let hundred_and_one: Vec<String> = (0..101).map(|n| format!("key={n}")).collect();
    let hundred_and_one = format!("/storage?{}", hundred_and_one.join("&"));
    for target in [
        "/storage?key=a&limit=1",
        "/storage?after=x&key=a",
        "/storage?key=a&prefix=",
        "/storage?limit=",
        "/storage?limit=0",
        "/storage?limit=1001",
        "/storage?limit=1.5",
        "/storage?limit=%2B5",
        "/storage?limit=99999999999999999999999",
        "/storage?limit=5&limit=5",
        "/storage?prefix=a&prefix=a",
        "/storage?after=a&after=a",
        "/export?prefix=a&prefix=b",
        &format!("/storage?prefix={}", "x".repeat(513)),
        &hundred_and_one,
    ] {
        client.get(target).await.refused(422, "bad_parameter");
    }
    let of_another_prefix = format!("/storage?prefix=a&after={}", crate::cursor::encode("", "a"));
    for target in ["/storage?after=", "/storage?after=x", "/storage?after=%F0%9F%98%80", &of_another_prefix] {
        client.get(target).await.refused(422, "bad_cursor");
    }
    client.send(Method::POST, "/storage/a", &[]).await.refused_method();
    client.send(Method::DELETE, "/docs", &[]).await.refused_method();
}

#[tokio::test]
async fn metrics_name_the_route_and_never_the_key() {
    let client = Client::new(&[("hello", "world")]).await;
    client.get("/storage/hello").await;
    client.get("/storage/secret").await;
    client.get("/storage?key=secret").await;
    client.get("/storage?limit=0").await;
    client.get("/storage?prefix=secret").await;
    client.get("/export?prefix=secret").await;
    client.get("/storage/secret/secret").await;
    client.get(&format!("/storage/{}", "secret".repeat(100))).await;
    let metrics = client.telemetry.render();
    for expected in [
        r#"http_response_status_code="404",http_route="/storage/{key}""#,
        r#"http_response_status_code="413",http_route="/storage/{key}""#,
        r#"http_response_status_code="422",http_route="/storage""#,
        r#"http_response_status_code="200",http_route="/storage""#,
        r#"http_response_status_code="200",http_route="/export""#,
        "keywire_exports 0",
        "keywire_lookup_backlog_bytes 0",
        "keywire_lists_backlog_bytes 0",
        "keywire_lookup_depth 0",
        "keywire_lookup_readers ",
        // Two of the three gets were sent twice: by the fast path and through the framework.
        r#"db_client_operation_duration_seconds_count{db_operation_name="select",db_system_name="sqlite",outcome="ok"} 5"#,
        r#"db_client_operation_duration_seconds_count{db_operation_name="scan",db_system_name="sqlite",outcome="ok"} 2"#,
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
    assert!(!metrics.contains("secret") && !metrics.contains("hello"), "{metrics}");
}

#[test]
fn the_committed_specification_is_the_one_of_this_code() {
    let committed = include_str!("../../../openapi/rest-read.json");
    let hint = "run `cargo run -p rest-read -- openapi > openapi/rest-read.json`";
    assert!(committed == specification(), "openapi/rest-read.json is stale: {hint}");
}

#[test]
fn every_documented_body_has_an_example() {
    let specification: Value = serde_json::from_str(&specification()).expect("the specification is JSON");
    let operations = ["/storage/{key}", "/storage", "/export"]
        .map(|path| &specification["paths"][path]["get"]["responses"]);
    for (status, response) in operations.iter().filter_map(|responses| responses.as_object()).flatten() {
        assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{status}");
        let lines = &response["content"]["application/x-ndjson"]["schema"];
        let schema = &response["content"]["application/json; charset=utf-8"]["schema"];
        let schema = if schema.is_null() { lines } else { schema };
        let name = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/"));
        let schema = name.map_or(schema, |name| &specification["components"]["schemas"][name]);
        let example = schema["example"]["status"].as_u64().map(|status| status.to_string());
        let line = schema["example"].as_str().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let is_line = line.is_some_and(|line| line["value"].is_string()) && !lines.is_null();
        assert!(status == "304" || is_line || example.as_ref() == Some(status), "{status}: {schema}");
    }
}
