//! The room of the queues.

use tokio::time::sleep;

use super::*;
use crate::engine::clock::StoreClock;
use crate::entry::{Change, Expiry, Op, Value};
use crate::lane::samples::{config, set, set_and_ask};
use crate::scripted::{FaultRates, Lock, Sabotage, Script, ScriptedEngine, ScriptedServer};

/// The bytes that each of the three lanes may have.
const SHARE: usize = (1 << 20) / 3;

/// A server without faults, and a writer with three lanes, which are connected.
async fn start() -> (ScriptedServer, Writer) {
    let server = ScriptedServer::new(Script::new(1, FaultRates::default()), false, Sabotage::None);
    let engine = ScriptedEngine::<true>::new(server.clone(), StoreClock::new());
    let (config, random) = (config(1000, 1 << 20, Duration::from_secs(10)), StdRng::seed_from_u64(1));
    let writer =
        Writer::start_on(&engine, &OutageLog::new("test"), 3, config, &TaskTracker::new(), random, |_| {});
    sleep(Duration::from_millis(100)).await;
    assert_eq!(writer.health().ready(), Ok(()));
    (server, writer)
}

/// Keys of each of the two lanes of single writes.
fn keys(writer: &Writer) -> [Vec<String>; 2] {
    let lane: &LaneHandle = &writer.lanes[0];
    let is_first = |name: &String| std::ptr::eq(writer.lane(&set(name)), lane);
    let (first, second) = (0..200).map(|number| format!("k{number}")).partition(is_first);
    [first, second]
}

/// A set of `name` to a value of `bytes` bytes.
fn large(name: &str, bytes: usize) -> Write {
    let value = Value::new("v".repeat(bytes), bytes).expect("it is as long as allowed");
    Write::One(Op { change: Change::Set(value, Expiry::Never), ..set_and_ask(name) })
}

fn try_submit(writer: &Writer, write: Write) -> Option<Ticket> {
    match writer.try_submit(write, Priority::Normal, Span::none(), writer.deadline()) {
        Submitted::Queued(ticket) => Some(ticket),
        Submitted::Returned(..) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lane_takes_no_room_from_the_others() {
    let (server, writer) = start().await;
    let [stuck, others] = keys(&writer);
    let ticket = try_submit(&writer, set(&stuck[0])).expect("there is room");
    ticket.await.expect("it is written");
    // Somebody else holds the fence row of the lane that has committed.
    let row = server.state().tables.writers.iter().find_map(|(id, row)| (row.seq > 0).then_some(*id));
    let (holder, _) = server.connect().expect("the server is up");
    let lock = Lock::Fence(row.expect("a lane has committed"));
    server.lock(holder, &lock, Duration::from_secs(1)).await.expect("nobody keeps it");
    let mut waiting = Vec::new();
    while let Some(ticket) = try_submit(&writer, large(&stuck[waiting.len() + 1], 30_000)) {
        waiting.push(ticket);
    }
    assert!(waiting.len() > 5, "{} writes", waiting.len());
    for name in &others {
        let begun = Instant::now();
        let ticket = try_submit(&writer, large(name, 30_000)).expect("the other lane has room");
        ticket.await.expect("the other lane works");
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_larger_than_the_share_of_its_lane_is_alone_in_it() {
    let (_server, writer) = start().await;
    let [names, _] = keys(&writer);
    let alone = try_submit(&writer, large(&names[0], SHARE + 1)).expect("the lane has no other write");
    assert!(try_submit(&writer, set(&names[1])).is_none(), "there is no room beside it");
    let next = writer.submit(set(&names[1]), Priority::Normal, Span::none(), writer.deadline());
    alone.await.expect("it is written");
    next.await.expect("there is room again").await.expect("it is written");
}
