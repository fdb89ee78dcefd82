//! How much memory messages need while they are received, and what the library gets.

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::fixture::frame;
use super::*;

type Client = std::io::Cursor<Vec<u8>>;

fn budgets(bytes: usize, message_bytes_max: usize) -> Arc<MessageBudgets> {
    Arc::new(MessageBudgets::of(bytes, message_bytes_max))
}

fn socket(budget: &Arc<MessageBudgets>, message_bytes_max: usize) -> WatchedStream<Client> {
    WatchedStream::new(Client::default(), message_bytes_max, Arc::clone(budget))
}

/// Reads until nothing more comes from a client that has sent `bytes`. Returns what the library gets.
fn read(watched: &mut WatchedStream<Client>, bytes: &[u8]) -> Vec<u8> {
    let io = watched.io.as_mut().expect("it is open");
    io.get_mut().extend_from_slice(bytes);
    let mut buffer = [0; 1000];
    let mut all = Vec::new();
    while let Some(Ok(read @ 1..)) = watched.read(&mut buffer).now_or_never() {
        all.extend_from_slice(&buffer[..read]);
    }
    all
}

#[test]
fn a_message_needs_memory_for_what_has_come_and_not_for_what_is_announced() {
    let budget = budgets(100_000, 40_000);
    let mut first = socket(&budget, 40_000);
    let large = frame(0x81, 40_000);
    assert!(read(&mut first, &large[..14]).is_empty());
    assert_eq!(budget.bytes(), 0, "a header costs nothing");
    assert!(read(&mut first, &large[14..20_000]).is_empty());
    assert!((20_000..=40_000).contains(&budget.bytes()), "{}", budget.bytes());
    assert!(read(&mut first, &large[20_000..]) == large);
    assert_eq!(budget.bytes(), 0, "the next read gives the memory back");
}

#[tokio::test]
async fn a_message_that_waits_goes_on_when_there_is_memory_and_small_ones_never_wait() {
    let budget = budgets(100_000, 40_000);
    let (large, small) = (frame(0x81, 40_000), frame(0x81, 10_000));
    let mut sockets: Vec<_> = (0..4).map(|_| socket(&budget, 40_000)).collect();
    for socket in &mut sockets {
        assert!(read(socket, &large[..33_000]).is_empty());
    }
    let waiting = sockets.iter().filter(|socket| socket.waits_for_memory()).count();
    assert!(waiting > 0 && budget.bytes() <= 100_000, "{waiting} wait, {} bytes", budget.bytes());
    assert_eq!(read(&mut socket(&budget, 40_000), &small.repeat(5)), small.repeat(5));
    // Nobody gives way, and still each of them comes to its end.
    let mut got: Vec<_> = sockets.iter_mut().map(|socket| read(socket, &large[33_000..])).collect();
    for _ in 0..4 {
        for (socket, got) in sockets.iter_mut().zip(&mut got) {
            got.extend(read(socket, &[]));
        }
    }
    assert!(got.iter().all(|got| *got == large));
    assert_eq!(budget.bytes(), 0);
}

#[tokio::test]
async fn a_message_keeps_no_place_in_the_queue_for_memory_while_a_write_waits_for_its_client() {
    let budget = budgets(40_000, 40_000);
    let large = frame(0x81, 40_000);
    let (mut first, mut last) = (socket(&budget, 40_000), socket(&budget, 40_000));
    assert!(read(&mut first, &large[..30_000]).is_empty());
    let (io, mut client) = tokio::io::duplex(32_000);
    let mut unread = WatchedStream::new(io, 40_000, Arc::clone(&budget));
    client.write_all(&large[..32_000]).await.expect("it fits");
    assert!(unread.read(&mut [0; 1000]).now_or_never().is_none() && unread.waits_for_memory());
    assert!(unread.write_all(&vec![0; 32_001]).now_or_never().is_none(), "nobody reads it");
    drop(first);
    assert!(read(&mut last, &large) == large, "the memory is for the one that is read");
}

#[test]
fn control_frames_within_a_large_message_are_not_delayed() {
    let budget = budgets(1 << 20, 100_000);
    let ping = frame(0x89, 100);
    let (begin, middle, end) = (frame(0x01, 10_000), frame(0x00, 30_000), frame(0x80, 30_000));
    let stream = [&begin[..], &middle, &ping, &end, &ping].concat();
    let expected = [&begin[..], &ping, &middle, &end, &ping].concat();
    // However the bytes are cut, also within headers.
    for cut in [1, 7, 4099, 65_536] {
        let mut watched = socket(&budget, 100_000);
        let mut got = Vec::new();
        for bytes in stream.chunks(cut) {
            got.extend(read(&mut watched, bytes));
        }
        assert!(got == expected, "in pieces of {cut} bytes");
    }
}
