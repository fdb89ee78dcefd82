//! The promises of the backlog: replies get room, at the expense of clients that read slowly.

use super::*;
use crate::fixture::local_peer;

const MIB: usize = 1 << 20;
const AT_ONCE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn small_replies_without_room_among_small_ones_wait_like_large_ones() {
    let backlog = Backlog::new(100);
    let first = charged(&backlog, 60).attach(vec![b'x'; 60], None);
    let peer = local_peer();
    let second = charged(&backlog, 60).attach(vec![b'x'; 60], Some(&peer));
    assert_eq!(backlog.unread().len(), 1, "the second one can be reset");
    assert_eq!(backlog.bytes(), 120);
    assert!(!backlog.charge().grow(60), "there is no room left");
    let mut reserve = std::pin::pin!(backlog.reserve(60));
    assert!(timeout(AT_ONCE, &mut reserve).await.is_err(), "it has to wait");
    drop(first.slice(..10));
    assert_eq!(backlog.small.load(Ordering::SeqCst), 60, "a part of a body gives nothing back");
    drop(first);
    assert!(backlog.charge().grow(60), "a small one takes room among the small ones again");
    drop(second);
    drop(timeout(PATIENCE, reserve).await.expect("the waiting reply has room"));
    assert_eq!(backlog.bytes(), 0);
}

#[tokio::test]
async fn large_replies_delay_only_large_ones() {
    let backlog = Backlog::new(MIB);
    let mut grown = charged(&backlog, SMALL_BYTES_MAX);
    assert!(grown.grow(MIB - SMALL_BYTES_MAX), "a small reply can become a large one");
    assert_eq!(backlog.bytes(), MIB, "and is counted once");
    let mut other = backlog.charge();
    assert!(!other.grow(SMALL_BYTES_MAX + 1), "there is no room for another");
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
    assert!(!backlog.charge().grow(MIB / 4), "a later reply takes nothing away");
    drop(unread);
    let mut reserved = timeout(PATIENCE, reserve).await.expect("there is room now");
    assert!(reserved.grow(MIB / 2) && reserved.grow(MIB / 2));
    reserved.clear();
    assert!(reserved.grow(MIB), "a cleared reply keeps its reserved bytes");
    assert!(reserved.grow(MIB), "and alone it may be larger than the backlog");
    assert!(!backlog.charge().grow(SMALL_BYTES_MAX + 1));
    assert!(timeout(AT_ONCE, backlog.reserve(MIB)).await.is_err());
    drop(reserved);
    assert_eq!(backlog.bytes(), 0, "a future that is dropped leaves nothing behind");
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
async fn a_slow_client_has_some_time_then_the_oldest_reply_is_reset_first() {
    let backlog = Backlog::new(100_000);
    let peers = [0; 3].map(|_| local_peer());
    let reset = || peers.each_ref().map(|peer| peer.is_reset());
    let body = |peer| charged(&backlog, 30_000).attach(vec![b'x'; 30_000], Some(peer));
    let bodies = peers.each_ref().map(body);
    let first = backlog.unread().values().next().expect("they are unread").since;
    backlog.reset_the_slowest(30_000, first + UNREAD_MIN - CHECK_INTERVAL);
    assert_eq!(reset(), [false; 3], "they may still be fast enough");
    backlog.reset_the_slowest(30_000, first + UNREAD_MIN);
    assert_eq!(reset(), [true, false, false], "no more than it takes, the oldest first");
    let late = first + 2 * UNREAD_MIN;
    backlog.reset_the_slowest(40_000, late);
    assert_eq!(reset(), [true, false, false], "a client that was reset counts as room already");
    backlog.reset_the_slowest(usize::MAX, late);
    assert_eq!(reset(), [true; 3]);
    drop(bodies);
    assert!(backlog.unread().is_empty());
}

#[tokio::test]
async fn no_client_is_reset_in_vain() {
    let backlog = Backlog::new(100_000);
    let peer = local_peer();
    let _unread = charged(&backlog, 30_000).attach(vec![b'x'; 30_000], Some(&peer));
    let _quick = charged(&backlog, 60_000).attach(vec![b'x'; 60_000], Some(&local_peer()));
    let quick = backlog.unread().values().last().expect("it is unread").since;
    backlog.unread().values_mut().next().expect("it is unread").since = quick - UNREAD_MIN;
    backlog.reset_the_slowest(50_000, quick);
    assert!(!peer.is_reset(), "30,000 bytes make no room for 50,000");
    backlog.reset_the_slowest(40_000, quick);
    assert!(peer.is_reset());
}
