//! A large message that is being received. It is collected here, and the WebSocket library gets it when it is complete: the library
//! reserves memory for all that a header announces.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::budget::{MessageBudgets, Reservation};
use super::frames::SMALL_BYTES_MAX;

/// The bytes of one part of a message.
pub(super) const PART_BYTES: usize = 16 * 1024;

/// The most bytes that a message reserves beyond those that have come.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// The frames of a large message, as they came.
#[derive(Debug)]
pub(super) struct LargeMessage {
    parts: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The bytes of the first part that the library has.
    taken: usize,
    is_complete: bool,
    /// Its memory. The first bytes, as many as a small message may have, need none.
    reservation: Reservation,
}

impl LargeMessage {
    /// A message that has begun. `bytes` is its size, if that is known.
    pub(super) fn new(budgets: &MessageBudgets, bytes: Option<usize>) -> Self {
        Self {
            parts: VecDeque::new(),
            bytes: 0,
            taken: 0,
            is_complete: false,
            reservation: budgets.reservation(bytes),
        }
    }

    /// Waits for memory for the next bytes, of which there are at most `left`. Returns how many may be read.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<usize> {
        let free = usize::try_from(SMALL_BYTES_MAX).expect("it is small").saturating_sub(self.bytes);
        if free > 0 {
            return Poll::Ready(free.min(PART_BYTES));
        }
        if !self.reservation.covers(self.bytes + left.min(PART_BYTES)) {
            let ahead = left.min(self.bytes.clamp(PART_BYTES, AHEAD_BYTES_MAX));
            std::task::ready!(self.reservation.poll_grow(cx, self.bytes + ahead));
        }
        Poll::Ready(PART_BYTES)
    }

    /// Adds bytes that have come.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        self.reservation.count_received(bytes.len());
        while !bytes.is_empty() {
            if self.parts.back().is_none_or(|last| last.len() == PART_BYTES) {
                self.parts.push_back(Vec::with_capacity(PART_BYTES));
            }
            let last = self.parts.back_mut().expect("there is one now");
            let (here, rest) = bytes.split_at(bytes.len().min(PART_BYTES - last.len()));
            last.extend_from_slice(here);
            bytes = rest;
        }
    }

    /// Removes the last `count` bytes and returns them.
    pub(super) fn pop(&mut self, count: usize) -> Vec<u8> {
        self.bytes -= count;
        let mut end = Vec::with_capacity(count);
        while end.len() < count {
            let last = self.parts.back_mut().expect("the message has these bytes");
            let here = last.split_off(last.len().saturating_sub(count - end.len()));
            end.splice(..0, here);
            if last.is_empty() {
                self.parts.pop_back();
            }
        }
        end
    }

    /// All of the message has come.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        self.reservation.complete();
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Moves bytes into `buf`. Returns false if there are no more.
    pub(super) fn move_into(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(first) = self.parts.front() else { return false };
        let rest = &first[self.taken..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == first.len() {
            self.parts.pop_front();
            self.taken = 0;
        }
        true
    }

    /// Whether the library has all of it.
    pub(super) fn is_taken(&self) -> bool {
        self.is_complete && self.parts.is_empty()
    }

    pub(super) fn stop_waiting(&mut self) {
        self.reservation.stop_waiting();
    }

    pub(super) fn waits_for_memory(&self) -> bool {
        self.reservation.waits()
    }

    pub(super) fn must_give_way(&self, cx: &Context<'_>) -> bool {
        self.reservation.must_give_way(cx)
    }
}
