//! Which messages are incomplete, and which come in too many fragments.

use super::super::fixture::frame;
use super::*;

#[test]
fn it_knows_at_every_byte_whether_something_is_incomplete() {
    let text = [frame(0x01, 3), frame(0x89, 0), frame(0x00, 300), frame(0x80, 0)].concat();
    let stream = [frame(0x81, 5), text, frame(0x8a, 7), frame(0x82, 0)].concat();
    let ends = [11, 11 + 9 + 6 + 308 + 6, 11 + 329 + 13, 11 + 329 + 13 + 6];
    let mut frames = FrameTracker::default();
    for (at, byte) in (1..).zip(&stream) {
        frames.take(&[*byte], Instant::now());
        assert_eq!(frames.incomplete_since.is_none(), ends.contains(&at), "after byte {at}");
    }
    let mut at_once = FrameTracker::default();
    at_once.take(&stream, Instant::now());
    assert!(at_once.incomplete_since.is_none() && !at_once.has_too_many_fragments);
}

#[test]
fn tiny_fragments_are_noticed_and_large_ones_are_not() {
    let mut frames = FrameTracker::default();
    frames.take(&frame(0x01, 1), Instant::now());
    for _ in 1..FRAMES_MAX {
        frames.take(&frame(0x00, 1), Instant::now());
    }
    assert!(!frames.has_too_many_fragments);
    frames.take(&frame(0x00, 1), Instant::now());
    assert!(frames.has_too_many_fragments);

    let mut coarse = FrameTracker::default();
    for _ in 0..1000 {
        coarse.take(&frame(0x00, 1024), Instant::now());
    }
    assert!(!coarse.has_too_many_fragments);
}
