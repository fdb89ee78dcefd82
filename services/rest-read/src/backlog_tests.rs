//! What the backlog promises: room for who asks, at the cost of who does not read.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_full_backlog_has_room_again_once_the_bodies_are_gone() {
    let backlog = Backlog::new(100);
    backlog.room().await;
    let first = backlog.charge(60).attach(vec![b'x'; 80], None);
    assert_eq!((&first[..], backlog.bytes()), (&[b'x'; 80][..], 80));
    let second = backlog.charge(40);
    assert!(backlog.is_full());

    let mut room = std::pin::pin!(backlog.room());
    assert!(timeout(Duration::from_millis(1), &mut room).await.is_err(), "there is no room yet");
    drop(first.slice(..10));
    assert_eq!(backlog.bytes(), 120, "a part of a body gives nothing back");
    drop(first);
    timeout(Duration::from_secs(5), room).await.expect("who waits is woken");
    drop(second);
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn heavy_values_make_selects_small_for_a_while() {
    let backlog = Backlog::new(64 << 20);
    assert!(backlog.keys_advised() > 128);
    drop(backlog.charge(1 << 20));
    assert_eq!(backlog.keys_advised(), 16);
    let both = backlog.charge(1 << 20).join(backlog.charge(1 << 20));
    drop(both.attach(vec![0; 12 << 20], None));
    assert_eq!(backlog.keys_advised(), 2, "what counts is what is written");
    let light = (1..).take_while(|_| {
        drop(backlog.charge(100));
        backlog.keys_advised() < 128
    });
    assert!((20..100).contains(&light.count()));
}

#[tokio::test]
async fn nobody_who_reads_is_given_up() {
    let backlog = Backlog::new(100_000);
    let lines = [0; 4].map(|_| Arc::new(Line::new(0)));
    let bodies = lines.each_ref().map(|line| backlog.charge(1).attach(vec![b'x'; 40_000], Some(line)));
    assert!(timeout(2 * STALLED_MIN, backlog.room()).await.is_err(), "there is no room");
    assert!(!lines.iter().any(|line| line.is_given_up()));
    assert_eq!(backlog.held().len(), 4);
    drop(bodies);
    assert!(backlog.held().is_empty());
}
