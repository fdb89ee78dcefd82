//! Who waits, who goes on and who gives way.

use std::task::Waker;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::*;

const MAX: usize = 100_000;

async fn grow(reservation: &mut Reservation, bytes: usize) {
    std::future::poll_fn(|cx| reservation.poll_grow(cx, bytes)).await;
}

fn gives_way(reservation: &Reservation) -> bool {
    reservation.must_give_way(&std::task::Context::from_waker(Waker::noop()))
}

/// A budget without room: `count` messages hold the shared memory, and the last one may grow to its full size.
async fn exhausted(count: usize) -> (Arc<MessageBudget>, Vec<Reservation>, Reservation) {
    let budget = MessageBudget::new(count * 50_000 + MAX, MAX);
    let mut reservations: Vec<_> = (0..count).map(|_| budget.reservation()).collect();
    for reservation in &mut reservations {
        grow(reservation, 50_000).await;
    }
    let mut last = budget.reservation();
    grow(&mut last, 10_000).await;
    (budget, reservations, last)
}

#[tokio::test(start_paused = true)]
async fn messages_that_all_wait_end_one_after_another() {
    let (_budget, mut reservations, last) = exhausted(3).await;
    assert!(last.covers(MAX), "it may grow to its full size");
    for reservation in &mut reservations {
        assert!(grow(reservation, 60_000).now_or_never().is_none());
    }
    drop(last);
    for mut reservation in reservations {
        grow(&mut reservation, 60_000).now_or_never().expect("it is its turn");
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_stalled_messages_give_way_as_it_takes() {
    let (budget, mut reservations, mut last) = exhausted(4).await;
    let mut fast = reservations.pop().expect("there are four");
    let mut complete = reservations.pop().expect("there are three");
    complete.complete();
    sleep(Duration::from_mins(1)).await;
    assert!(!reservations.iter().any(gives_way), "nobody waits");
    let mut waits = budget.reservation();
    let wait = tokio::spawn(async move {
        grow(&mut waits, 40_000).await;
        waits
    });
    for tick in 0..30 {
        sleep(Duration::from_millis(100)).await;
        // 80 KiB a second is fast enough, and 40 KiB a second is not.
        fast.count_received(8 * 1024);
        last.count_received(4 * 1024);
        let given: Vec<_> = reservations.iter().chain([&last]).map(gives_way).collect();
        if given.contains(&true) {
            assert!((9..=12).contains(&tick), "after a second, not after {tick} ticks");
            break;
        }
    }
    let slow = reservations.iter().chain([&last]).filter(|reservation| gives_way(reservation)).count();
    assert_eq!(slow, 2, "two are enough, with some memory to spare");
    reservations.retain(|reservation| !gives_way(reservation));
    let last = Some(last).filter(|last| !gives_way(last));
    let _granted = wait.await.expect("it has memory now");
    assert!(!gives_way(&fast) && !gives_way(&complete) && last.is_none_or(|last| !gives_way(&last)));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_process_makes_nobody_give_way() {
    let (budget, reservations, last) = exhausted(2).await;
    let mut waits = budget.reservation();
    let wait = tokio::spawn(async move { grow(&mut waits, 40_000).await });
    sleep(Duration::from_millis(500)).await;
    tokio::time::advance(Duration::from_mins(1)).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!reservations.iter().chain([&last]).any(gives_way));
    wait.abort();
}
