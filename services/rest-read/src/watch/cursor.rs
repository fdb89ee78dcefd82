//! Cursors of watches: a position in the log, the fingerprint of the watch, and a checksum, in base64url. Opaque to clients.
//!
//! The bytes: version (1), fingerprint (8), then big-endian numbers of 8 bytes (store id, time, and the id and seq of each lane), then the first
//! 8 bytes of the SHA-256 of all that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::TRANSACTION_MICROS_MAX;
use sha2::{Digest as _, Sha256};

use crate::watch::position::{Position, ResetReason};
use crate::watch::target::Fingerprint;

/// Enough to detect a damaged cursor. A cursor keeps no secret.
const CHECK_BYTES: usize = 8;

/// The first byte. A cursor of another form has another version.
const VERSION: u8 = 1;

/// The most lanes of a cursor. If there are more, those that committed last are in it. A lane that is left out counts from 0: its changes are
/// sent again.
const LANES_MAX: usize = 256;

/// The longest cursor is shorter than this, so a longer text need not be decoded.
const TEXT_BYTES_MAX: usize = 8192;

/// The cursor at `position` of the watch with `fingerprint`. Lanes that committed nothing for longer than changes are kept are left out.
pub(crate) fn encode(position: &Position, fingerprint: Fingerprint) -> String {
    let idle = position.time.saturating_sub(position.retention_micros.saturating_add(TRANSACTION_MICROS_MAX));
    let mut lanes: Vec<_> =
        position.lanes().iter().filter(|lane| lane.rev == 0 || lane.rev >= idle).collect();
    if lanes.len() > LANES_MAX {
        lanes.sort_unstable_by_key(|lane| std::cmp::Reverse(lane.rev));
        lanes.truncate(LANES_MAX);
    }
    let mut bytes = Vec::with_capacity(25 + 16 * lanes.len() + CHECK_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&fingerprint);
    for number in [position.store_id, position.time]
        .into_iter()
        .chain(lanes.iter().flat_map(|lane| [lane.id, lane.seq]))
    {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&check(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position of `cursor`.
///
/// # Errors
/// `BadCursor`: the text is not a whole cursor. `OtherWatch`: the cursor is of a watch with another fingerprint.
pub(crate) fn decode(cursor: &str, fingerprint: Fingerprint) -> Result<Position, ResetReason> {
    let (found, numbers) = parse(cursor).ok_or(ResetReason::BadCursor)?;
    let [store_id, time, lanes @ ..] = &numbers[..] else { return Err(ResetReason::BadCursor) };
    let (lanes, rest) = lanes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ResetReason::BadCursor);
    }
    if found != fingerprint {
        return Err(ResetReason::OtherWatch);
    }
    Ok(Position::of_cursor(*store_id, *time, lanes.iter().map(|&[id, seq]| (id, seq))))
}

/// The fingerprint and the numbers of a cursor. `None`: its form or its checksum is wrong.
fn parse(cursor: &str) -> Option<(Fingerprint, Vec<u64>)> {
    if cursor.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (body, found) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    if *found != check(body) {
        return None;
    }
    let (&version, rest) = body.split_first()?;
    let (fingerprint, numbers) = rest.split_first_chunk::<8>()?;
    let (numbers, odd) = numbers.as_chunks::<8>();
    if version != VERSION || !odd.is_empty() {
        return None;
    }
    Some((*fingerprint, numbers.iter().map(|number| u64::from_be_bytes(*number)).collect()))
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = Sha256::digest(body);
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::watch::position::tests::{NOW, state};

    const HOUR: u64 = 3_600_000_000;

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        let position = Position::of(&state(&[(1, 5, NOW, true), (9, 3, NOW - HOUR, true)]));
        let cursor = encode(&position, [3; 8]);
        let found = decode(&cursor, [3; 8]).expect("it is whole");
        assert!(found.covers(&position) && position.covers(&found));
        assert_eq!((found.store_id, found.time), (7, NOW));
        assert_eq!(decode(&cursor, [4; 8]), Err(ResetReason::OtherWatch));
    }

    #[test]
    fn idle_lanes_and_more_than_256_are_left_out() {
        let many: Vec<_> =
            (1..=300).map(|id| (id, 1, NOW - id, true)).chain([(999, 1, NOW - 2 * HOUR, true)]).collect();
        let cursor = encode(&Position::of(&state(&many)), [3; 8]);
        assert!(cursor.len() < TEXT_BYTES_MAX);
        let found = decode(&cursor, [3; 8]).expect("it is whole");
        assert_eq!(found.lanes().len(), LANES_MAX);
        assert_eq!([1, 256, 257, 999].map(|id| found.seq(id)), [1, 1, 0, 0], "the last that moved are in it");
    }

    proptest! {
        #[test]
        fn a_cursor_that_was_touched_is_none(at in any::<prop::sample::Index>(), put in "[A-Za-z0-9_=+-]") {
            let cursor = encode(&Position::of(&state(&[(1, 5, NOW, true)])), [3; 8]);
            let at = at.index(cursor.len());
            let touched = [&cursor[..at], &put, &cursor[at + 1..]].concat();
            prop_assert_eq!(decode(&touched, [3; 8]).is_ok(), touched == cursor);
            prop_assert_eq!(decode(&cursor[..at], [3; 8]), Err(ResetReason::BadCursor));
        }

        #[test]
        fn a_text_is_no_cursor(text in "\\PC{0,40}") {
            prop_assert_eq!(decode(&text, [3; 8]), Err(ResetReason::BadCursor));
        }
    }
}
