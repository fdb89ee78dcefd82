//! Who waits, who goes on and who gives way.

use std::task::Waker;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::*;

const MAX: usize = 100_000;

async fn grow(share: &mut Share, bytes: usize) {
    std::future::poll_fn(|cx| share.poll_grow(cx, bytes)).await;
}

fn gives_way(share: &Share) -> bool {
    share.must_give_way(&std::task::Context::from_waker(Waker::noop()))
}

/// A budget in which `count` messages hold all memory, but for that of the one message that may grow to its end. It has that, too.
async fn exhausted(count: usize) -> (Arc<MessageBudget>, Vec<Share>, Share) {
    let budget = MessageBudget::new(count * 50_000 + MAX, MAX);
    let mut shares: Vec<_> = (0..count).map(|_| budget.share()).collect();
    for share in &mut shares {
        grow(share, 50_000).await;
    }
    let mut last = budget.share();
    grow(&mut last, 10_000).await;
    (budget, shares, last)
}

#[tokio::test(start_paused = true)]
async fn messages_that_all_wait_end_one_after_another() {
    let (_budget, mut shares, last) = exhausted(3).await;
    assert!(last.covers(MAX), "it may grow to its end");
    for share in &mut shares {
        assert!(grow(share, 60_000).now_or_never().is_none());
    }
    drop(last);
    for mut share in shares {
        grow(&mut share, 60_000).now_or_never().expect("it is its turn");
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_messages_that_do_not_move_give_way_as_it_takes() {
    let (budget, mut shares, mut last) = exhausted(4).await;
    let mut fast = shares.pop().expect("there are four");
    let mut complete = shares.pop().expect("there are three");
    complete.complete();
    sleep(Duration::from_mins(1)).await;
    assert!(!shares.iter().any(gives_way), "nobody waits");
    let mut waits = budget.share();
    let wait = tokio::spawn(async move {
        grow(&mut waits, 40_000).await;
        waits
    });
    for tick in 0..30 {
        sleep(Duration::from_millis(100)).await;
        // 80 KiB a second is fast enough, and 40 KiB a second is not.
        fast.came(8 * 1024);
        last.came(4 * 1024);
        let given: Vec<_> = shares.iter().chain([&last]).map(gives_way).collect();
        if given.contains(&true) {
            assert!((9..=12).contains(&tick), "after a second, not after {tick} ticks");
            break;
        }
    }
    let slow = shares.iter().chain([&last]).filter(|share| gives_way(share)).count();
    assert_eq!(slow, 2, "two are enough, with some memory to spare");
    shares.retain(|share| !gives_way(share));
    let last = Some(last).filter(|last| !gives_way(last));
    let _granted = wait.await.expect("it has memory now");
    assert!(!gives_way(&fast) && !gives_way(&complete) && last.is_none_or(|last| !gives_way(&last)));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_process_makes_nobody_give_way() {
    let (budget, shares, last) = exhausted(2).await;
    let mut waits = budget.share();
    let wait = tokio::spawn(async move { grow(&mut waits, 40_000).await });
    sleep(Duration::from_millis(500)).await;
    tokio::time::advance(Duration::from_mins(1)).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!shares.iter().chain([&last]).any(gives_way));
    wait.abort();
}
