use tokio::sync::mpsc::channel;

use super::super::line::line;
use super::*;

#[test]
fn a_line_that_expires_in_flight_is_not_refused() {
    let late = br#"{"message":"expires_at is not in the future","status":422,"code":"bad_ttl"}"#;
    for (expires_at, refused, expired) in [(1_u64, 0, 1), (9_000_000_000_000_000, 1, 0)] {
        let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
        let mut delivery =
            Delivery::new(Target { url: &url, bearer: None, roots: None }, channel(1).1, &progress);
        let text = format!(r#"{{"key":"k","value":"v","expires_at":{expires_at}}}"#);
        delivery.window.push(line(1, &text));
        delivery.window.send().expect("it may go");
        delivery.replied(late).expect("it is a reply");
        assert_eq!((delivery.counts.refused, delivery.counts.expired), (refused, expired), "{text}");
    }
}

#[test]
fn an_unexpected_reply_settles_nothing() {
    let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
    let mut delivery =
        Delivery::new(Target { url: &url, bearer: None, roots: None }, channel(1).1, &progress);
    assert!(delivery.replied(br#"{"message":"k created","status":200}"#).is_err());
    assert_eq!(delivery.counts.settled(), 0);
}
