use super::*;
use crate::fixture::{TestDatabase, a_key};
use crate::watch::target::Target;
use crate::watch::watcher::Next;

/// A hub that has come to the present position of `database`.
async fn hub_at(database: &TestDatabase) -> Arc<Hub> {
    let hub = Hub::new(16);
    hub.begin(&position(database).await);
    hub
}

async fn position(database: &TestDatabase) -> Arc<Position> {
    let mut follower = database.store.follower().await.expect("it opens");
    let snapshot = follower.snapshot().await.expect("it can be read");
    Arc::new(Position::of(snapshot.state()))
}

/// A stream that joins at `position`.
fn joining(hub: &Arc<Hub>, target: Target, with_values: bool, position: &Arc<Position>) -> Joining {
    let watcher = Arc::new(Watcher::new(target.clone(), with_values, None));
    let permit = hub.permits().take().expect("there is room");
    let subscriber = Arc::new(Subscriber::Stream(Arc::clone(&watcher)));
    // It lives as long as the test.
    std::mem::forget(hub.subscribe(target, &subscriber, permit));
    hub.join(&watcher, Arc::clone(position));
    hub.take_joining().pop().expect("it has just joined")
}

/// One round, in which `joining` join.
async fn round(hub: &Hub, database: &TestDatabase, joining: &[&Joining]) -> usize {
    let mut follower = database.store.follower().await.expect("it opens");
    let mut snapshot = follower.snapshot().await.expect("it can be read");
    let end = Arc::new(Position::of(snapshot.state()));
    let from = hub.position().expect("the rounds have begun");
    let changes = Round::changes(&mut snapshot, &from, CHANGES_MAX).await.expect("it can be read");
    let changes = changes.expect("they are few");
    let mut round = Round::default();
    round.add_members(hub, &changes);
    hub.add_recent(&end, changes);
    for joining in joining {
        round.add_joining(hub, joining);
    }
    round.read(&mut snapshot, hub, &DamageLog::new("test")).await.expect("it can be read");
    let count = round.deliver(&end);
    hub.advance(end);
    count
}

/// The keys that a watcher was told of, and their values. `@` is the end of a round.
fn told(joining: &Joining) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        match joining.watcher.next(usize::MAX) {
            Next::Send(event) => {
                let event = String::from_utf8(event.to_vec()).expect("it is text");
                let (_, data) = event.trim_end().split_once("\ndata: ").expect("an event has data");
                let data: serde_json::Value = serde_json::from_str(data).expect("it is JSON");
                told.push(format!("{}={}", data["key"], data["value"]).replace('"', ""));
            }
            Next::RoundSent(_) => told.push("@".into()),
            Next::Wait => return told,
            next => panic!("the watcher is not in the rounds: {next:?}"),
        }
    }
}

#[tokio::test]
async fn a_round_brings_each_watcher_what_concerns_it_in_the_order_of_the_keys() {
    let database = TestDatabase::holding(&[("user/1", "old")]).await;
    let (hub, start) = (hub_at(&database).await, position(&database).await);
    let users = joining(&hub, Target::Prefix("user/".into()), true, &start);
    let keys = joining(&hub, Target::Keys([a_key("user/2"), a_key("x")].into()), false, &start);
    assert_eq!(round(&hub, &database, &[&users, &keys]).await, 0);
    assert_eq!((told(&users), told(&keys)), (vec!["@".to_owned()], vec!["@".to_owned()]), "both are live");
    database.write(&[("user/2", "a"), ("other", "b"), ("user/1", "c"), ("user/2", "d")]).await;
    assert_eq!(round(&hub, &database, &[]).await, 3);
    assert_eq!(told(&users), ["user/1=c", "user/2=d", "@"]);
    assert_eq!(told(&keys), ["user/2=null", "@"]);
    database.write(&[("other", "e")]).await;
    assert_eq!(round(&hub, &database, &[]).await, 0);
    assert!(told(&users).is_empty() && told(&keys).is_empty());
}

#[tokio::test]
async fn a_watcher_that_joins_is_told_what_it_has_missed() {
    let database = TestDatabase::holding(&[("a", "0")]).await;
    let (hub, start) = (hub_at(&database).await, position(&database).await);
    database.write(&[("a", "1"), ("b", "1")]).await;
    assert_eq!(round(&hub, &database, &[]).await, 0);
    let between = position(&database).await;
    database.write(&[("b", "2")]).await;
    let early = joining(&hub, Target::Prefix(String::new()), true, &start);
    let late = joining(&hub, Target::Prefix(String::new()), true, &between);
    round(&hub, &database, &[&early, &late]).await;
    assert_eq!(told(&early), ["a=1", "b=2", "@"]);
    assert_eq!(told(&late), ["b=2", "@"]);
}

#[tokio::test]
async fn a_watcher_whose_changes_are_not_in_memory_reads_them_by_itself() {
    let database = TestDatabase::holding(&[("a", "0")]).await;
    let start = position(&database).await;
    database.write(&[("a", "1")]).await;
    let hub = hub_at(&database).await;
    let early = joining(&hub, Target::Prefix(String::new()), true, &start);
    round(&hub, &database, &[&early]).await;
    assert!(matches!(early.watcher.next(9), Next::CatchUp));
}

#[tokio::test]
async fn watchers_for_whose_events_there_is_no_room_read_them_by_themselves() {
    let database = TestDatabase::holding(&[("a", "0")]).await;
    let (hub, start) = (hub_at(&database).await, position(&database).await);
    let [first, second] =
        ["a", "b"].map(|key| joining(&hub, Target::Keys([a_key(key)].into()), true, &start));
    round(&hub, &database, &[&first, &second]).await;
    assert_eq!((told(&first), told(&second)), (vec!["@".to_owned()], vec!["@".to_owned()]));
    let full = hub.event_memory.count(vec![0; 64 << 20]);
    database.write(&[("a", "1")]).await;
    assert_eq!(round(&hub, &database, &[]).await, 0);
    assert!(matches!(first.watcher.next(9), Next::CatchUp));
    assert!(matches!(second.watcher.next(9), Next::Wait), "nothing of it has changed");
    drop(full);
    database.write(&[("b", "1")]).await;
    assert_eq!(round(&hub, &database, &[]).await, 1);
    assert_eq!(told(&second), ["b=1", "@"]);
}

#[tokio::test]
async fn a_watcher_for_whose_event_there_is_no_memory_catches_up() {
    let database = TestDatabase::holding(&[]).await;
    let (hub, start) = (hub_at(&database).await, position(&database).await);
    let watchers = ["a", "b", "c"].map(|key| joining(&hub, Target::Keys([a_key(key)].into()), true, &start));
    round(&hub, &database, &watchers.each_ref()).await;
    assert!(watchers.iter().all(|watcher| told(watcher) == ["@"]));
    database.write(&[("a", "1"), ("b", "1"), ("c", "1")]).await;
    // Room for one byte, so for one more event.
    let _others = hub.event_memory.count(vec![0; 64 * 1024 * 1024 - 1]);
    assert_eq!(round(&hub, &database, &[]).await, 1);
    assert_eq!(told(&watchers[0]), ["a=1", "@"]);
    for watcher in &watchers[1..] {
        assert!(matches!(watcher.watcher.next(usize::MAX), Next::CatchUp));
    }
}
