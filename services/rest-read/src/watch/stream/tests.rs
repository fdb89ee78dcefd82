use db::Store;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::watch::catch_up::CatchUps;
use crate::watch::hub::{FollowStatus, Hub, Subscriber};
use crate::watch::position::tests::{NOW, state};
use crate::watch::target::Target;
use crate::watch::watcher::Delivery;

fn at(seq: u64) -> Arc<Position> {
    Arc::new(Position::of(&state(&[(1, seq, NOW, true)])))
}

fn delivery(events: &[&str], seq: u64) -> Delivery {
    let events = events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect();
    Delivery { events, position: at(seq) }
}

/// A stream that has said `ready` at the seq 1 and is a member.
async fn live_stream(end_within: Duration) -> (WatchStream, CancellationToken) {
    let store = Store::new("sqlite://nowhere", None, false).expect("it is a URL");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let hub = Hub::new(1);
    hub.note_poll(FollowStatus::Following);
    hub.begin(&at(1));
    let shared = Shared {
        hub: Arc::clone(&hub),
        catch_ups: CatchUps::new(&store, 1, &tasks),
        metrics: crate::metrics::Metrics::noop(),
        stop: stop.clone(),
        end_within,
    };
    let target = Target::Prefix(String::new());
    let watcher = Arc::new(Watcher::new(target.clone(), true, None));
    let permit = hub.permits().take().expect("there is room");
    let subscriber = Arc::new(Subscriber::Stream(Arc::clone(&watcher)));
    let subscription = hub.subscribe(target, &subscriber, permit);
    let mut stream = WatchStream::new(Arc::new(shared), watcher, subscription, Opening::Now);
    let first = text(stream.next().await);
    assert!(first.starts_with("retry: ") && first.contains("\n\nevent: ready\nid: "), "{first}");
    stream.watcher.admit(delivery(&[], 1));
    (stream, stop)
}

fn text(part: Option<Bytes>) -> String {
    String::from_utf8(part.expect("the stream goes on").to_vec()).expect("it is text")
}

/// What the stream sends without waiting.
fn now(stream: &mut WatchStream) -> Option<String> {
    stream.next().now_or_never().map(text)
}

#[tokio::test]
async fn the_events_of_a_round_and_its_id_are_one_part() {
    let (mut stream, _stop) = live_stream(Duration::ZERO).await;
    assert_eq!(now(&mut stream), None, "a round that brought nothing tells nothing");
    stream.watcher.deliver(delivery(&["a\n\n", "b\n\n"], 2));
    let sent = now(&mut stream).expect("there is a round");
    let id = cursor::encode(&at(2), stream.watcher.fingerprint);
    assert_eq!(sent, format!("a\n\nb\n\nevent: progress\nid: {id}\ndata: {{}}\n\n"));
}

#[tokio::test]
async fn an_event_that_was_begun_is_sent_to_its_end_although_its_round_gives_way() {
    let (mut stream, _stop) = live_stream(Duration::ZERO).await;
    let long = "x".repeat(SEND_BYTES_MAX + 10);
    stream.watcher.deliver(delivery(&[&long, "lost"], 2));
    assert_eq!(now(&mut stream).map(|sent| sent.len()), Some(SEND_BYTES_MAX));
    stream.watcher.free_memory();
    assert_eq!(now(&mut stream).as_deref(), Some("xxxxxxxxxx"));
    assert_eq!(now(&mut stream), None);
    assert!(stream.shared.hub.has_joining(), "it joins again");
    assert_eq!(stream.position.as_ref().map(|position| position.seq(1)), Some(1), "after the last id");
}

#[tokio::test(start_paused = true)]
async fn something_is_sent_every_ten_seconds_and_without_a_database_the_stream_ends() {
    let (mut stream, _stop) = live_stream(Duration::ZERO).await;
    stream.shared.hub.advance(at(7));
    let started = Instant::now();
    stream.shared.hub.note_poll(FollowStatus::Following);
    let hub = Arc::clone(&stream.shared.hub);
    let looks = async {
        loop {
            hub.note_poll(FollowStatus::Following);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let sent = tokio::select! { sent = stream.next() => text(sent), () = looks => unreachable!() };
    let id = cursor::encode(&at(7), stream.watcher.fingerprint);
    assert_eq!(sent, format!("event: progress\nid: {id}\ndata: {{}}\n\n"), "with the position of the rounds");
    assert_eq!(started.elapsed(), PROGRESS_INTERVAL);
    // Nobody looks any more.
    let mut comments = 0;
    while let Some(part) = stream.next().await {
        comments += usize::from(part == event::COMMENT);
    }
    assert_eq!(comments, 2);
    let without_database = started.elapsed().saturating_sub(PROGRESS_INTERVAL);
    assert!(
        (WITHOUT_DATABASE_MAX..=WITHOUT_DATABASE_MAX + PROGRESS_INTERVAL).contains(&without_database),
        "{without_database:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn on_a_drain_a_stream_ends_within_its_time_after_a_round() {
    let (mut stream, stop) = live_stream(Duration::from_secs(5)).await;
    stop.cancel();
    let started = Instant::now();
    stream.watcher.deliver(delivery(&["a\n\n"], 2));
    assert!(text(stream.next().await).starts_with("a\n\nevent: progress\n"));
    assert_eq!(stream.next().await, None);
    assert!(started.elapsed() <= Duration::from_secs(5));
}
