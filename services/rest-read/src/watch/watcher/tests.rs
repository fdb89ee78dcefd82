use std::net::Ipv4Addr;

use super::*;
use crate::watch::position::tests::{NOW, state};

fn at(seq: u64) -> Arc<Position> {
    Arc::new(Position::of(&state(&[(1, seq, NOW, true)])))
}

fn delivery(events: &[&'static str], seq: u64) -> Delivery {
    let events = events.iter().map(|event| Bytes::from_static(event.as_bytes())).collect();
    Delivery { events, position: at(seq) }
}

/// What the stream sends until it has nothing to send, and what it does then. A position is shown as `@` and its seq.
fn sent(watcher: &Watcher) -> (Vec<String>, Next) {
    let mut sent = Vec::new();
    loop {
        match watcher.next(3) {
            Next::Send(part) => sent.push(String::from_utf8(part.to_vec()).expect("it is text")),
            Next::RoundSent(position) => sent.push(format!("@{}", position.seq(1))),
            next => return (sent, next),
        }
    }
}

fn watcher() -> Watcher {
    Watcher::new(Target::Prefix(String::new()), true, None)
}

fn member() -> Watcher {
    let watcher = watcher();
    watcher.join();
    watcher.admit(delivery(&[], 1));
    assert!(matches!(sent(&watcher), (sent, Next::Wait) if sent == ["@1"]));
    watcher
}

#[test]
fn a_watcher_gets_rounds_once_it_is_admitted() {
    let watcher = watcher();
    assert!(matches!(watcher.next(3), Next::Join));
    watcher.deliver(delivery(&["lost"], 1));
    watcher.join();
    watcher.deliver(delivery(&["lost"], 2));
    assert!(matches!(sent(&watcher), (sent, Next::Joining) if sent.is_empty()));
    watcher.admit(delivery(&["a"], 3));
    watcher.deliver(delivery(&["bcde", "f"], 4));
    assert!(matches!(sent(&watcher), (sent, Next::Wait) if sent == ["a", "@3", "bcd", "e", "f", "@4"]));
}

#[test]
fn a_watcher_that_does_not_take_its_rounds_leaves_and_joins_again() {
    let watcher = member();
    for seq in 2..=9 {
        watcher.deliver(delivery(&["x"], seq));
    }
    assert!(!watcher.is_member());
    // The rounds that wait are sent, and it goes on from there.
    assert!(matches!(sent(&watcher), (sent, Next::Join) if sent == ["x", "@2", "x", "@3"]));
    watcher.join();
    watcher.admit(delivery(&["y"], 9));
    assert!(matches!(sent(&watcher), (sent, Next::Wait) if sent == ["y", "@9"]));
}

#[test]
fn an_event_that_was_begun_is_sent_to_its_end() {
    let begun = || {
        let watcher = member();
        watcher.deliver(delivery(&["abcdef", "lost"], 2));
        assert!(matches!(watcher.next(3), Next::Send(part) if part == "abc"));
        watcher
    };
    let (reset, given_way, ended) = (begun(), begun(), begun());
    reset.reset(ResetReason::TooOld);
    assert!(matches!(sent(&reset), (sent, Next::Reset(ResetReason::TooOld)) if sent == ["def"]));
    given_way.free_memory();
    assert!(matches!(sent(&given_way), (sent, Next::Join) if sent == ["def"]));
    ended.end();
    assert!(matches!(sent(&ended), (sent, Next::End) if sent == ["def"]));
}

#[test]
fn a_client_that_reads_is_not_reset_to_make_room() {
    let peer = Arc::new(Peer::new(Ipv4Addr::LOCALHOST.into(), 0));
    let watcher = Watcher::new(Target::Prefix(String::new()), true, Some(Arc::clone(&peer)));
    watcher.join();
    watcher.admit(delivery(&["abcdef"], 2));
    assert!(matches!(watcher.next(3), Next::Send(_)));
    watcher.free_memory();
    assert!(!peer.is_reset());
    assert!(matches!(sent(&watcher), (sent, Next::Join) if sent == ["def"]));
}

#[test]
fn a_watcher_that_reads_by_itself_is_left_alone() {
    let watcher = member();
    watcher.send_to_catch_up();
    assert!(matches!(watcher.next(3), Next::CatchUp));
    watcher.leave();
    watcher.reset(ResetReason::TooOld);
    watcher.detach();
    assert!(matches!(watcher.next(3), Next::Join), "it finds out when it joins");
    watcher.end();
    watcher.join();
    assert!(matches!(watcher.next(3), Next::End), "the end is final");
}
