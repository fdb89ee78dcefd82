//! Writers are restarted one after another under load, and no client of the gateway loses a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Closed, Compose, HttpConnection, Load, NotOpened, Socket, measured, storage};
use tokio::task::JoinSet;

use super::RECOVERY_MAX;

/// The number of sockets that write, and how many writes each has in flight.
const SOCKETS: usize = 8;
const WINDOW: usize = 32;

/// The number of clients that read, each on one connection.
const READERS: usize = 4;

/// The longest time without a socket: the closing writer sends a Close, and the other writer takes the client at once.
const AWAY_MAX: Duration = Duration::from_secs(3);

pub(super) async fn writers_restarted_one_by_one_lose_nothing(compose: &Compose) {
    compose.scale(&["ws-ingest=2", "rest-read=3"]);
    Socket::open(compose.gateway).await.set("rolling", "v").await;
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read(HttpConnection::open(compose.gateway).await, Arc::clone(&over)));
    }
    let load = Load::start(compose.gateway, "rolling", SOCKETS, WINDOW);
    for writer in compose.containers("ws-ingest") {
        load.acked(2000, RECOVERY_MAX).await;
        compose.restart(&writer).await;
    }
    load.acked(2000, RECOVERY_MAX).await;
    let mut tally = load.stop().await;
    over.store(true, Ordering::Relaxed);
    let gets: usize = readers.join_all().await.into_iter().sum();

    measured(&format!(
        "{} acked, {} unanswered, {} closes, {} attempts put off, at most {:?} without a socket, {gets} gets",
        tally.acked.len(),
        tally.unanswered.len(),
        tally.closes.len(),
        tally.not_opened.len(),
        tally.away,
    ));
    let (refused, unknown) = (&tally.refused, &tally.unknown);
    assert!(refused.is_empty() && unknown.is_empty(), "503: {refused:?}, 504: {unknown:?}");
    let closes = &tally.closes;
    // Every socket of a writer is closed by that writer when it stops.
    assert!(closes.len() >= SOCKETS, "{closes:?}");
    assert!(closes.iter().all(|closed| *closed == Closed::Code(Some(1001))), "{closes:?}");
    let not_opened = &tally.not_opened;
    assert!(not_opened.iter().all(|why| *why == NotOpened::Later), "{not_opened:?}");
    assert!(tally.away < AWAY_MAX, "a client was without a socket for {:?}", tally.away);
    assert!(gets > 1000, "{gets} gets say too little");
    // A stopping writer answers every message that it has read.
    tally.refused.append(&mut tally.unanswered);
    tally.check(compose.gateway).await;
}

/// Gets one key again and again until `over`. Every get must succeed. Returns their number.
async fn read(mut connection: HttpConnection, over: Arc<AtomicBool>) -> usize {
    let target = storage("rolling");
    let mut gets = 0;
    while !over.load(Ordering::Relaxed) {
        let found = connection.get(&target).await;
        assert_eq!((found.status, &found.json()["value"]), (200, &"v".into()), "get {gets}: {found:?}");
        gets += 1;
    }
    gets
}
