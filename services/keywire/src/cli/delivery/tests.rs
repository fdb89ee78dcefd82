use tokio::sync::mpsc::channel;

use super::line::line;
use super::*;

#[test]
fn a_line_that_expires_in_flight_is_not_refused() {
    let late = br#"{"message":"expires_at is not in the future","status":422,"code":"bad_ttl"}"#;
    for (expires_at, refused, expired) in [(1_u64, 0, 1), (9_000_000_000_000_000, 1, 0)] {
        let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
        let mut delivery = Delivery::new(
            Target { url: &url, bearer: None, roots: None },
            Unit::Line,
            channel(1).1,
            &progress,
        );
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
        Delivery::new(Target { url: &url, bearer: None, roots: None }, Unit::Line, channel(1).1, &progress);
    assert!(delivery.replied(br#"{"message":"k created","status":200}"#).is_err());
    assert_eq!(delivery.counts.settled(), 0);
}

#[test]
fn a_key_that_was_written_meanwhile_is_kept_and_one_that_is_gone_is_told_apart() {
    let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
    let target = Target { url: &url, bearer: None, roots: None };
    let mut delivery = Delivery::new(target, Unit::Key, channel(1).1, &progress);
    let replies = [
        r#"{"message":"k deleted","status":200,"rev":9}"#,
        r#"{"message":"rev mismatch for key k","status":412,"code":"rev_mismatch","rev":8}"#,
        r#"{"message":"rev mismatch for key k","status":412,"code":"rev_mismatch","rev":0}"#,
        r#"{"message":"No value found for key k","status":404}"#,
        r#"{"message":"this token may not write here","status":403,"code":"forbidden"}"#,
    ];
    for (number, reply) in (1..).zip(replies) {
        delivery.window.push(Line::delete(number, "k", Some(7)));
        delivery.window.send().expect("it may go");
        delivery.replied(reply.as_bytes()).expect("it is a reply");
    }
    let LineCounts { written, refused, expired, existing, gone } = delivery.counts;
    assert_eq!((written, refused, expired, existing, gone), (1, 1, 0, 1, 2));
}
