//! What is noticed of the bytes a client sends.

use futures_util::FutureExt as _;

use super::*;

fn frame(first: u8, payload: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload) {
        Ok(small) if small < 126 => frame.push(0x80 | small),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload).expect("a test's payload").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(vec![b'x'; payload]);
    frame
}

#[test]
fn it_knows_at_every_byte_whether_something_is_incomplete() {
    let text = [frame(0x01, 3), frame(0x89, 0), frame(0x00, 300), frame(0x80, 0)].concat();
    let stream = [frame(0x81, 5), text, frame(0x8a, 7), frame(0x82, 0)].concat();
    let ends = [11, 11 + 9 + 6 + 308 + 6, 11 + 329 + 13, 11 + 329 + 13 + 6];
    let mut inbound = Inbound::default();
    for (at, byte) in (1..).zip(&stream) {
        inbound.take(&[*byte], Instant::now());
        assert_eq!(inbound.since.is_none(), ends.contains(&at), "after byte {at}");
    }
    let mut at_once = Inbound::default();
    at_once.take(&stream, Instant::now());
    assert!(at_once.since.is_none() && !at_once.too_fine);
}

#[test]
fn tiny_fragments_are_noticed_and_large_ones_are_not() {
    let mut inbound = Inbound::default();
    inbound.take(&frame(0x01, 1), Instant::now());
    for _ in 1..FRAMES_MAX {
        inbound.take(&frame(0x00, 1), Instant::now());
    }
    assert!(!inbound.too_fine);
    inbound.take(&frame(0x00, 1), Instant::now());
    assert!(inbound.too_fine);

    let mut coarse = Inbound::default();
    for _ in 0..1000 {
        coarse.take(&frame(0x00, 1024), Instant::now());
    }
    assert!(!coarse.too_fine);
}

/// Reads from a client that has sent `bytes`, until nothing more comes.
fn read(watched: &mut Watched<std::io::Cursor<Vec<u8>>>, bytes: Vec<u8>) -> usize {
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
fn large_messages_wait_for_room_and_small_ones_do_not() {
    let room = Arc::new(Semaphore::new(50_000));
    let socket = || Watched::new(std::io::Cursor::new(Vec::new()), 50_000, Arc::clone(&room));
    let (mut first, mut second, mut third) = (socket(), socket(), socket());
    let (large, small) = (frame(0x81, 30_000), frame(0x81, 10_000));
    assert_eq!(read(&mut first, large[..20_000].to_vec()), 20_000);
    assert_eq!(room.available_permits(), 20_000, "for all of the message");
    assert_eq!(read(&mut second, large.clone()), 8 * 1024, "its beginning says how large it is");
    assert!(second.waits_for_room() && !first.waits_for_room());
    assert_eq!(read(&mut third, small.repeat(5)), 5 * small.len());
    assert_eq!(read(&mut first, large[20_000..].to_vec()), large.len() - 20_000);
    assert_eq!(room.available_permits(), 20_000, "who has a message to deal with keeps its room");
    assert_eq!(read(&mut first, small[..1].to_vec()), 1);
    assert_eq!(read(&mut second, large[8 * 1024..].to_vec()), large.len() - 8 * 1024);
    drop(second);
    assert_eq!(room.available_permits(), 50_000);
}

#[test]
fn a_large_message_in_fragments_takes_the_room_of_the_largest() {
    let room = Arc::new(Semaphore::new(50_000));
    let mut socket = Watched::new(std::io::Cursor::new(Vec::new()), 40_000, Arc::clone(&room));
    read(&mut socket, frame(0x01, 10_000));
    assert_eq!(room.available_permits(), 50_000);
    read(&mut socket, [frame(0x00, 10_000), frame(0x89, 0)].concat());
    assert_eq!(room.available_permits(), 10_000);
    read(&mut socket, [frame(0x80, 1), frame(0x81, 1)].concat());
    read(&mut socket, frame(0x81, 1));
    assert_eq!(room.available_permits(), 50_000);
}
