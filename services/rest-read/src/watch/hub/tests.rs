use futures_util::FutureExt as _;

use super::*;
use crate::fixture::a_key;
use crate::watch::position::tests::{NOW, state};
use crate::watch::watcher::{Delivery, Next};

fn at(seq: u64) -> Arc<Position> {
    Arc::new(Position::of(&state(&[(1, seq, NOW, true)])))
}

/// A stream of the keys with `prefix` that takes part in the rounds.
fn stream(hub: &Arc<Hub>, prefix: &str) -> (Arc<Watcher>, Subscription) {
    let target = Target::Prefix(prefix.to_owned());
    let watcher = Arc::new(Watcher::new(target.clone(), true, None));
    let subscriber = Arc::new(Subscriber::Stream(Arc::clone(&watcher)));
    let permit = hub.permits().take().expect("there is room");
    let subscription = hub.subscribe(target, &subscriber, permit);
    hub.join(&watcher, at(1));
    watcher.admit(Delivery { events: [].into(), position: at(1) });
    assert!(matches!(watcher.next(9), Next::RoundSent(_)));
    (watcher, subscription)
}

#[test]
fn a_round_wakes_only_those_whom_it_concerns() {
    let hub = Hub::new(1001);
    let _others: Vec<_> = (0..1000).map(|n| stream(&hub, &format!("other/{n}/"))).collect();
    let (_watcher, _subscription) = stream(&hub, "user/");
    let keys: Vec<Key> = (0..1000).map(|n| a_key(&format!("user/{n}"))).collect();
    let mut found = 0;
    hub.for_subscribers(&keys, |_, _, _| found += 1);
    assert_eq!(found, 1000, "each key has one subscriber");
    assert!(hub.permits().take().is_none(), "there is room for 1001 watches");
}

#[test]
fn a_watch_that_ends_gives_its_place_back() {
    let hub = Hub::new(1);
    let (_, subscription) = stream(&hub, "");
    assert_eq!((hub.permits().used(), hub.permits().in_use().now_or_never()), (1, Some(())));
    drop(subscription);
    assert_eq!(hub.permits().used(), 0);
    let mut found = 0;
    hub.for_subscribers(&[a_key("k")], |_, _, _| found += 1);
    assert_eq!(found, 0);
}

#[test]
fn what_a_watcher_has_missed_is_in_memory_or_not_known() {
    let hub = Hub::new(1);
    let all = Target::Prefix(String::new());
    assert_eq!(hub.changed_since(&at(1), &all, 9), None, "there was no round");
    hub.begin(&at(1));
    let change = |seq, key| LoggedChange { lane: 1, seq, key: a_key(key) };
    hub.add_recent(&at(3), vec![change(2, "b"), change(2, "a"), change(3, "b")]);
    assert_eq!(hub.position().map(|position| position.seq(1)), Some(1), "nobody has the round yet");
    hub.advance(at(3));
    assert_eq!(hub.position().map(|position| position.seq(1)), Some(3));
    assert_eq!(hub.changed_since(&at(1), &all, 9), Some([a_key("a"), a_key("b")].into()));
    assert_eq!(hub.changed_since(&at(1), &Target::Prefix("b".into()), 9), Some([a_key("b")].into()));
    assert_eq!(hub.changed_since(&at(1), &all, 1), None, "too many, although the first one is there twice");
    assert_eq!(hub.changed_since(&at(0), &all, 9), None, "from before the rounds began");
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_changes_cannot_be_followed() {
    let hub = Hub::new(2);
    hub.note_poll(FollowStatus::Following);
    let (watcher, _subscription) = stream(&hub, "");
    hub.note_poll(FollowStatus::Following);
    assert!(matches!(watcher.next(9), Next::Wait));
    hub.note_poll(FollowStatus::Unlogged);
    assert!(matches!(watcher.next(9), Next::End));
    let now = Instant::now();
    assert_eq!(hub.status(now + POLL_AGE_MAX).await, Some(FollowStatus::Unlogged));
    tokio::time::advance(POLL_AGE_MAX).await;
    assert_eq!(hub.status(Instant::now() + POLL_AGE_MAX).await, None, "the last look is old");
}
