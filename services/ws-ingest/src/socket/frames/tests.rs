//! Which messages are incomplete, and which come in too many fragments.

use super::super::fixture::frame;
use super::*;

#[test]
fn it_knows_at_every_byte_whether_something_is_incomplete() {
    let text = [frame(0x01, 3), frame(0x89, 0), frame(0x00, 300), frame(0x80, 0)].concat();
    let stream = [frame(0x81, 5), text, frame(0x8a, 7), frame(0x82, 0)].concat();
    let ends = [11, 11 + 9 + 6 + 308 + 6, 11 + 329 + 13, 11 + 329 + 13 + 6];
    let mut frames = FrameTracker::new(6 << 20);
    for (at, byte) in (1..).zip(&stream) {
        frames.take(&[*byte]);
        assert_eq!(!frames.is_incomplete, ends.contains(&at), "after byte {at}");
    }
    let mut at_once = FrameTracker::new(6 << 20);
    at_once.take(&stream);
    assert!(!at_once.is_incomplete && at_once.fault.is_none());
}

#[test]
fn tiny_fragments_are_noticed_and_large_ones_are_not() {
    let mut frames = FrameTracker::new(6 << 20);
    frames.take(&frame(0x01, 1));
    for _ in 1..FRAMES_MAX {
        frames.take(&frame(0x00, 1));
    }
    assert_eq!(frames.fault, None);
    frames.take(&frame(0x00, 1));
    assert_eq!(frames.fault, Some(Fault::TooManyFragments));

    let mut coarse = FrameTracker::new(6 << 20);
    let mut stream = [frame(0x01, 1024), frame(0x00, 1024).repeat(999)].concat();
    while !stream.is_empty() {
        let (_, left) = coarse.take(&stream);
        stream.drain(..stream.len() - left);
    }
    assert_eq!(coarse.fault, None);
}

#[test]
fn what_a_header_announces_is_refused_at_once_if_it_is_too_long() {
    let mut frames = FrameTracker::new(20_000);
    let _ = frames.take(&[frame(0x01, 15_000), frame(0x00, 6000)[..8].to_vec()].concat());
    assert_eq!(frames.fault, Some(Fault::MessageTooLong));
    let mut frames = FrameTracker::new(20_000);
    let _ = frames.take(&frame(0x89, 126)[..8]);
    assert_eq!(frames.fault, Some(Fault::ControlFrameTooLong));
}
