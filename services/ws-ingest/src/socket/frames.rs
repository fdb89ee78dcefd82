//! Tracks the frames in the bytes of a client: whether a message is incomplete, in how many frames it comes, how large it is.

/// A message may have this many frames, and one more for each KiB of its size.
const FRAMES_MAX: u64 = 64;

/// The most bytes in the payload of a control frame (RFC 6455).
const CONTROL_BYTES_MAX: u64 = 125;

/// A message of more bytes is large: it needs memory of the process's budget.
pub(super) const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// The position in the stream of frames.
#[derive(Debug)]
pub(super) struct FrameTracker {
    /// The bytes of the current frame's header that have arrived.
    header: [u8; 14],
    header_len: usize,
    /// The bytes of the current frame's payload that have not arrived.
    payload_left: u64,
    /// Whether a message or frame is incomplete.
    pub(super) is_incomplete: bool,
    /// How many times a message or frame has begun while none was incomplete.
    pub(super) begun: u64,
    /// Frames and bytes of the current data message.
    frames: u64,
    bytes: u64,
    is_large: bool,
    message_bytes_max: u64,
    /// A fault that the bytes show.
    pub(super) fault: Option<Fault>,
}

/// Why a message is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client sends it in too many fragments.
    TooManyFragments,
    /// It has too many bytes. The library notices that only when a fragment is complete.
    MessageTooLong,
    /// A control frame has too many bytes. The library notices that only when the frame is complete.
    ControlFrameTooLong,
    /// The client sends it too slowly.
    Incomplete,
    /// The client sends it too slowly for the memory that it holds while other messages wait for memory.
    GaveWay,
}

/// A point in the stream at which the reader must act before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameEvent {
    /// The header of a frame makes its message large. The header has this many bytes.
    BecomesLarge(usize),
    /// A control frame of this many bytes has come within a large message.
    ControlFrame(usize),
    /// A large message is complete.
    LargeMessageEnds,
}

impl FrameTracker {
    /// The beginning of a stream whose messages have at most `message_bytes_max` bytes.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self {
            header: [0; 14],
            header_len: 0,
            payload_left: 0,
            is_incomplete: false,
            begun: 0,
            frames: 0,
            bytes: 0,
            is_large: false,
            message_bytes_max: message_bytes_max as u64,
            fault: None,
        }
    }

    /// Tracks `bytes` up to the first event, or to their end. Returns the event and how many bytes are left.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> (Option<FrameEvent>, usize) {
        while let Some((&first, rest)) = bytes.split_first() {
            let mut event = None;
            if self.payload_left > 0 {
                let here = (bytes.len() as u64).min(self.payload_left);
                self.payload_left -= here;
                bytes = &bytes[usize::try_from(here).expect("at most the length of `bytes`")..];
            } else {
                if !self.is_incomplete {
                    self.is_incomplete = true;
                    self.begun += 1;
                }
                self.header[self.header_len] = first;
                self.header_len += 1;
                bytes = rest;
                if !self.begin_payload() {
                    continue;
                }
                event = self.becomes_large();
            }
            if self.payload_left == 0 {
                event = self.end_frame();
            }
            if event.is_some() {
                return (event, bytes.len());
            }
        }
        (None, 0)
    }

    /// The bytes of a header that is incomplete.
    pub(super) fn incomplete_header(&self) -> &[u8] {
        if self.payload_left > 0 { &[] } else { &self.header[..self.header_len] }
    }

    /// The bytes of the current message, if the header of its last frame has come.
    pub(super) fn size(&self) -> Option<usize> {
        self.bytes_left().and_then(|_| usize::try_from(self.bytes).ok())
    }

    /// The bytes of the current message that have not come, if the header of its last frame has come.
    pub(super) fn bytes_left(&self) -> Option<usize> {
        let is_last = self.payload_left > 0 && !self.is_control() && self.header[0] & 0x80 != 0;
        if is_last { usize::try_from(self.payload_left).ok() } else { None }
    }

    fn becomes_large(&mut self) -> Option<FrameEvent> {
        if self.is_large || self.bytes <= SMALL_BYTES_MAX {
            return None;
        }
        self.is_large = true;
        Some(FrameEvent::BecomesLarge(self.header_len))
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
        if self.is_control() {
            if self.payload_left > CONTROL_BYTES_MAX {
                self.fault = Some(Fault::ControlFrameTooLong);
            }
            return true;
        }
        self.frames += 1;
        // A client can announce any length.
        self.bytes = self.bytes.saturating_add(self.payload_left);
        if self.bytes > self.message_bytes_max {
            self.fault = Some(Fault::MessageTooLong);
        } else if self.frames > FRAMES_MAX + self.bytes / 1024 {
            self.fault = Some(Fault::TooManyFragments);
        }
        true
    }

    /// Ends the frame.
    fn end_frame(&mut self) -> Option<FrameEvent> {
        // A control frame has a short payload. Its size is in the second byte.
        let length = self.header_len + usize::from(self.header[1] & 0x7f);
        self.header_len = 0;
        let is_last = !self.is_control() && self.header[0] & 0x80 != 0;
        let event = match (self.is_large, is_last) {
            (true, true) => Some(FrameEvent::LargeMessageEnds),
            (true, false) if self.is_control() => Some(FrameEvent::ControlFrame(length)),
            (true | false, _) => None,
        };
        if is_last {
            (self.frames, self.bytes, self.is_large) = (0, 0, false);
        }
        if self.frames == 0 {
            self.is_incomplete = false;
        }
        event
    }

    fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }
}

#[cfg(test)]
mod tests;
