//! How an export begins, how exports are limited, and how the client sees whether one is complete.

use super::*;
use crate::fixture::{PATIENCE, TestDatabase, eventually, limits};

fn exports(database: &TestDatabase) -> Exports {
    Exports::new(&database.store, &limits(), &TaskTracker::new(), &Metrics::noop())
}

/// Begins an export of all keys.
async fn begin(exports: &Exports) -> Result<ExportStream, ReadError> {
    exports.start(String::new(), Owner::Address(None), None).await
}

async fn text(lines: ExportStream) -> Result<String, String> {
    let text = lines.into_body().into_string();
    let text = tokio::time::timeout(PATIENCE, text).await.expect("the export ends");
    text.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_export_is_read_in_parts_and_put_together_again() {
    // Control characters are six bytes each: one line is longer than a statement may bring.
    let heavy = "\0".repeat(100_000);
    let entries: Vec<(String, &str)> =
        (0..300).map(|at| (format!("{at:03}"), if at % 100 == 50 { heavy.as_str() } else { "x" })).collect();
    let borrowed: Vec<(&str, &str)> = entries.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let database = TestDatabase::holding(&borrowed).await;
    let lines = begin(&exports(&database)).await.expect("it begins");
    let mut expected = Vec::new();
    for (key, value) in &entries {
        body::line(&mut expected, key, value, None);
    }
    assert!(text(lines).await.expect("it is complete").into_bytes() == expected);
}

#[tokio::test]
async fn no_more_exports_than_allowed_run_at_a_time() {
    // More than fits on the way to a client, so that both last.
    let value = "v".repeat(100_000);
    let database = TestDatabase::holding(&[("a", &value), ("b", &value), ("c", &value), ("d", &value)]).await;
    let exports = exports(&database);
    let count = exports.count();
    let first = begin(&exports).await.expect("it begins");
    let second = begin(&exports).await.expect("it begins");
    assert_eq!(count(), 2);
    assert_eq!(begin(&exports).await.err(), Some(ReadError::TooManyExports(2)));
    drop(first);
    eventually("a client that leaves gives its permit back", || count() == 1).await;
    assert!(text(second).await.is_ok());
    assert_eq!(count(), 0, "its permit was free before its end was known");
}

#[tokio::test]
async fn an_export_without_a_database_is_refused_and_gives_its_permit_back() {
    let exports = exports(&TestDatabase::new());
    for _ in 0..3 {
        assert_eq!(begin(&exports).await.err(), Some(ReadError::Unavailable));
        assert_eq!(exports.count()(), 0, "its permit was free before the refusal was known");
    }
}

#[tokio::test]
async fn a_body_without_its_end_is_an_error() {
    let lines = |last: Option<ExportPart>| async {
        let (parts, rest) = mpsc::channel(2);
        let (first, then) = (Some(Bytes::from("1\n")), ExportPart::Lines("2\n".into()));
        parts.try_send(then).expect("there is room");
        if let Some(last) = last {
            parts.try_send(last).expect("there is room");
        }
        drop(parts);
        text(ExportStream { first, rest, reset_on_failure: None }).await
    };
    assert_eq!(lines(Some(ExportPart::End)).await.as_deref(), Ok("1\n2\n"));
    assert!(lines(None).await.is_err());
    assert!(lines(Some(ExportPart::Failed(ReadError::Unavailable))).await.is_err());
}
