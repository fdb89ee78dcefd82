//! What the backlog promises: room for who asks, at the cost of who reads slowly.

use super::*;

const MIB: usize = 1 << 20;
const AT_ONCE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn many_small_answers_hold_back_the_next() {
    let backlog = Backlog::new(100);
    backlog.room().await;
    let first = charged(&backlog, 60).attach(vec![b'x'; 60], None);
    let second = charged(&backlog, 60);
    assert!(backlog.is_full());
    let mut room = std::pin::pin!(backlog.room());
    assert!(timeout(AT_ONCE, &mut room).await.is_err(), "there is no room yet");
    drop(first.slice(..10));
    assert_eq!(backlog.bytes(), 120, "a part of a body gives nothing back");
    drop(first);
    timeout(PATIENCE, room).await.expect("who waits is woken");
    drop(second);
    assert_eq!(backlog.bytes(), 0);
}

#[tokio::test]
async fn large_answers_hold_up_large_ones_only() {
    let backlog = Backlog::new(MIB);
    let mut grown = charged(&backlog, SMALL_BYTES_MAX);
    assert!(grown.grow(MIB - SMALL_BYTES_MAX), "a small answer can become a large one");
    assert_eq!(backlog.bytes(), MIB, "and is counted once");
    let mut other = backlog.charge();
    assert!(!other.grow(SMALL_BYTES_MAX + 1), "there is no room for another");
    backlog.room().await;
    assert!(other.grow(SMALL_BYTES_MAX), "but for a small one");
    drop(other);
    drop(grown);
    assert_eq!(backlog.bytes(), 0);
}

#[tokio::test]
async fn what_was_reserved_is_there_whatever_came_meanwhile() {
    let backlog = Backlog::new(MIB);
    let unread = charged(&backlog, MIB / 2);
    let mut reserve = std::pin::pin!(backlog.reserve(MIB));
    assert!(timeout(AT_ONCE, &mut reserve).await.is_err(), "there is no room yet");
    assert!(!backlog.charge().grow(MIB / 4), "who comes later takes nothing away");
    drop(unread);
    let mut reserved = timeout(PATIENCE, reserve).await.expect("there is room now");
    assert!(reserved.grow(MIB / 2) && reserved.grow(MIB / 2));
    reserved.clear();
    assert!(reserved.grow(MIB), "it begins anew with what it has");
    assert!(reserved.grow(MIB), "and alone it may be larger than all there is");
    assert!(!backlog.charge().grow(SMALL_BYTES_MAX + 1));
    assert!(timeout(AT_ONCE, backlog.reserve(MIB)).await.is_err());
    drop(reserved);
    assert_eq!(backlog.bytes(), 0, "who does not wait to the end leaves nothing behind");
}

#[test]
fn heavy_values_make_selects_small_for_a_while() {
    let backlog = Backlog::new(64 * MIB);
    assert!(backlog.keys_advised() > 128);
    backlog.weigh(MIB);
    assert_eq!(backlog.keys_advised(), 16);
    let light = (1..).take_while(|_| {
        backlog.weigh(100);
        backlog.keys_advised() < 128
    });
    assert!((20..100).contains(&light.count()));
}

#[tokio::test]
async fn who_reads_has_some_time_and_gives_way_then_the_first_first() {
    let backlog = Backlog::new(100_000);
    let peers = [0; 3].map(|_| Arc::new(Peer::new(0)));
    let given_up = || peers.each_ref().map(|peer| peer.is_reset());
    let body = |peer| charged(&backlog, 30_000).attach(vec![b'x'; 30_000], Some(peer));
    let bodies = peers.each_ref().map(body);
    let first = backlog.held().values().next().expect("they are held").since;
    backlog.give_up_the_slowest(30_000, first + KEPT_MIN - LOOK);
    assert_eq!(given_up(), [false; 3], "they may still be quick enough");
    backlog.give_up_the_slowest(30_000, first + KEPT_MIN);
    assert_eq!(given_up(), [true, false, false], "no more than it takes, the first first");
    let late = first + 2 * KEPT_MIN;
    backlog.give_up_the_slowest(40_000, late);
    assert_eq!(given_up(), [true, false, false], "who was given up makes room already");
    backlog.give_up_the_slowest(usize::MAX, late);
    assert_eq!(given_up(), [true; 3]);
    drop(bodies);
    assert!(backlog.held().is_empty());
}

#[tokio::test]
async fn nobody_is_given_up_for_nothing() {
    let backlog = Backlog::new(100_000);
    let peer = Arc::new(Peer::new(0));
    let _unread = charged(&backlog, 30_000).attach(vec![b'x'; 30_000], Some(&peer));
    let _quick = charged(&backlog, 60_000).attach(vec![b'x'; 60_000], Some(&Arc::new(Peer::new(0))));
    let quick = backlog.held().values().last().expect("it is held").since;
    backlog.held().values_mut().next().expect("it is held").since = quick - KEPT_MIN;
    backlog.give_up_the_slowest(50_000, quick);
    assert!(!peer.is_reset(), "30,000 bytes make no room for 50,000");
    backlog.give_up_the_slowest(40_000, quick);
    assert!(peer.is_reset());
}
