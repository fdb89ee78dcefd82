//! Which messages wait for memory, and when they give it back.

use futures_util::FutureExt as _;

use super::super::fixture::frame;
use super::*;

/// Reads until nothing more comes from a client that has sent `bytes`. Returns how many bytes were read.
fn read(watched: &mut WatchedStream<std::io::Cursor<Vec<u8>>>, bytes: Vec<u8>) -> usize {
    use tokio::io::AsyncReadExt as _;
    watched.io = Some(std::io::Cursor::new(bytes));
    let mut buffer = [0; 8 * 1024];
    let mut all = 0;
    while let Some(Ok(read @ 1..)) = watched.read(&mut buffer).now_or_never() {
        all += read;
    }
    all
}

#[test]
fn large_messages_wait_for_memory_and_small_ones_do_not() {
    let budget = Arc::new(Semaphore::new(50_000));
    let socket = || WatchedStream::new(std::io::Cursor::new(Vec::new()), 50_000, Arc::clone(&budget));
    let (mut first, mut second, mut third) = (socket(), socket(), socket());
    let (large, small) = (frame(0x81, 30_000), frame(0x81, 10_000));
    assert_eq!(read(&mut first, large[..20_000].to_vec()), 20_000);
    assert_eq!(budget.available_permits(), 20_000, "the whole message is reserved");
    assert_eq!(read(&mut second, large.clone()), 8 * 1024, "the header must be read to know the size");
    assert!(second.waits_for_memory() && !first.waits_for_memory());
    assert_eq!(read(&mut third, small.repeat(5)), 5 * small.len());
    assert_eq!(read(&mut first, large[20_000..].to_vec()), large.len() - 20_000);
    assert_eq!(budget.available_permits(), 20_000, "a message keeps its reservation until the next read");
    assert_eq!(read(&mut first, small[..1].to_vec()), 1);
    assert_eq!(read(&mut second, large[8 * 1024..].to_vec()), large.len() - 8 * 1024);
    drop(second);
    assert_eq!(budget.available_permits(), 50_000);
}

#[test]
fn a_large_message_in_fragments_reserves_the_largest_size() {
    let budget = Arc::new(Semaphore::new(50_000));
    let mut socket = WatchedStream::new(std::io::Cursor::new(Vec::new()), 40_000, Arc::clone(&budget));
    read(&mut socket, frame(0x01, 10_000));
    assert_eq!(budget.available_permits(), 50_000);
    read(&mut socket, [frame(0x00, 10_000), frame(0x89, 0)].concat());
    assert_eq!(budget.available_permits(), 10_000);
    read(&mut socket, [frame(0x80, 1), frame(0x81, 1)].concat());
    read(&mut socket, frame(0x81, 1));
    assert_eq!(budget.available_permits(), 50_000);
}
