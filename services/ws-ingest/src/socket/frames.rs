//! Follows the frames in the bytes of a client: whether a message is incomplete, in how many frames it comes, how large it is.

use tokio::time::Instant;

/// A message may have this many frames, and one more for each KiB of its size.
const FRAMES_MAX: u64 = 64;

/// A message of more bytes is large: it needs a reservation of memory.
pub(super) const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// The position in the stream of frames.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    /// The bytes of the current frame's header that have arrived.
    header: [u8; 14],
    header_len: usize,
    /// The bytes of the current frame's payload that have not arrived.
    payload_left: u64,
    /// When the first byte of the incomplete message or frame arrived; `None` if nothing is incomplete.
    pub(super) incomplete_since: Option<Instant>,
    /// Frames and bytes of the current data message.
    frames: u64,
    bytes: u64,
    pub(super) has_too_many_fragments: bool,
    /// The number of data messages that were complete.
    pub(super) messages: u64,
}

impl FrameTracker {
    /// Follows `bytes` up to the end of a large message, or to their end. Returns how many bytes are left.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Instant) -> usize {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let here = (bytes.len() as u64).min(self.payload_left);
                self.payload_left -= here;
                bytes = &bytes[usize::try_from(here).expect("at most the length of `bytes`")..];
            } else {
                self.incomplete_since.get_or_insert(now);
                self.header[self.header_len] = first;
                self.header_len += 1;
                bytes = rest;
                if !self.begin_payload() {
                    continue;
                }
            }
            if self.payload_left == 0 && self.end_frame() {
                return bytes.len();
            }
        }
        0
    }

    /// Reads the header, if it is complete. Returns whether it is.
    fn begin_payload(&mut self) -> bool {
        let [_, second, ..] = self.header;
        let (size, extended) = (second & 0x7f, &self.header[2..]);
        let extended_len = match size {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        if self.header_len < 2 + extended_len + mask_len {
            return false;
        }
        let extended = extended[..extended_len].iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
        self.payload_left = if extended_len == 0 { u64::from(size) } else { extended };
        if !self.is_control() {
            self.frames += 1;
            // A client can announce any length; the library refuses a message that is too long.
            self.bytes = self.bytes.saturating_add(self.payload_left);
            self.has_too_many_fragments |= self.frames > FRAMES_MAX + self.bytes / 1024;
        }
        true
    }

    /// Ends the frame. Returns whether a large message ends with it.
    fn end_frame(&mut self) -> bool {
        self.header_len = 0;
        let is_last = !self.is_control() && self.header[0] & 0x80 != 0;
        let is_large = is_last && self.bytes > SMALL_BYTES_MAX;
        if is_last {
            (self.frames, self.bytes) = (0, 0);
            self.messages += 1;
        }
        if self.frames == 0 {
            self.incomplete_since = None;
        }
        is_large
    }

    /// The bytes to reserve before more of the current message is read. The size of a fragmented message is unknown, so it
    /// reserves the largest size at once: fragments that reserve one by one could wait for each other forever.
    pub(super) fn reservation_bytes(&self, message_bytes_max: usize) -> u32 {
        let is_whole = self.frames == 1 && !self.is_control() && self.header[0] & 0x80 != 0;
        let needed = match self.bytes {
            ..=SMALL_BYTES_MAX => 0,
            bytes if is_whole => bytes.min(message_bytes_max as u64),
            _ => message_bytes_max as u64,
        };
        u32::try_from(needed).expect("a message has a few MiB at most")
    }

    fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }
}

#[cfg(test)]
mod tests;
