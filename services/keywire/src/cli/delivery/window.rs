//! The lines in flight: sent in order, settled in order. A line is settled when its outcome is final. Pure.
//!
//! A line that was not applied is sent again, together with every line after it: alone it could overwrite a later line of the
//! same key. So no later line is settled before it, and lines are sent again only when every reply has come.

use std::collections::VecDeque;

use super::line::Line;

/// The most lines in flight. The server accepts twice as many, so it never waits for the client to read replies.
const LINES_MAX: usize = 512;

/// The most bytes in flight; a single line may be longer. The server accepts as many.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The lines that are not settled yet.
#[derive(Debug, Default)]
pub(super) struct Window {
    lines: VecDeque<Line>,
    bytes: usize,
    /// How many lines were sent.
    sent: usize,
    /// How many replies came since the first line has to be sent again. They settle nothing.
    ignored_replies: usize,
    /// Why the first line has to be sent again.
    retry_reason: Option<String>,
}

impl Window {
    /// Whether `line` may be added.
    pub(super) fn has_room(&self, line: &Line) -> bool {
        let fits = self.lines.len() < LINES_MAX && self.bytes + line.text.len() <= BYTES_MAX;
        fits || self.lines.is_empty()
    }

    /// Adds a line at the end.
    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
    }

    /// The next line to send; it counts as sent. `None` while the first line has to be sent again.
    pub(super) fn send(&mut self) -> Option<&Line> {
        let line = if self.retry_reason.is_none() { self.lines.get(self.sent) } else { None };
        self.sent += usize::from(line.is_some());
        line
    }

    /// Whether replies are still missing.
    pub(super) fn awaits_replies(&self) -> bool {
        self.ignored_replies < self.sent
    }

    /// Whether everything is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Why the first line has to be sent again, if it has to.
    pub(super) fn retry_reason(&self) -> Option<&str> {
        self.retry_reason.as_deref()
    }

    /// The first line that is not settled yet.
    pub(super) fn first(&self) -> Option<&Line> {
        self.lines.front()
    }

    /// Counts the next reply and returns the line that it settles, if any. `retry_reason` tells that the line has to be sent
    /// again, and why.
    pub(super) fn reply(&mut self, retry_reason: Option<&str>) -> Option<Line> {
        if self.retry_reason.is_none() {
            self.retry_reason = retry_reason.map(str::to_owned);
        }
        if self.retry_reason.is_none() {
            return self.settle();
        }
        self.ignored_replies += 1;
        None
    }

    /// Removes the first line: its outcome is final.
    pub(super) fn settle(&mut self) -> Option<Line> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.text.len();
        self.sent -= 1;
        Some(line)
    }

    /// Every line that is not settled is sent again, because no more replies come.
    pub(super) fn rewind(&mut self) {
        (self.sent, self.ignored_replies, self.retry_reason) = (0, 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::line;
    use super::*;

    fn window(lines: u64) -> Window {
        let mut window = Window::default();
        (1..=lines).for_each(|number| window.push(line(number, "{}")));
        window
    }

    fn sent(window: &mut Window) -> Vec<u64> {
        std::iter::from_fn(|| window.send().map(|line| line.number)).collect()
    }

    #[test]
    fn lines_are_settled_in_the_order_they_were_sent() {
        let mut window = window(3);
        assert_eq!(sent(&mut window), [1, 2, 3]);
        let settled: Vec<u64> = (0..3).filter_map(|_| window.reply(None)).map(|line| line.number).collect();
        assert_eq!(settled, [1, 2, 3]);
        assert!(window.is_empty() && !window.awaits_replies());
    }

    #[test]
    fn a_line_that_was_not_applied_is_sent_again_with_all_after_it_once_every_reply_has_come() {
        let mut window = window(5);
        assert_eq!(sent(&mut window), [1, 2, 3, 4, 5]);
        assert_eq!(window.reply(None).map(|line| line.number), Some(1));
        assert_eq!(window.reply(Some("busy")), None);
        window.push(line(6, "{}"));
        assert!(sent(&mut window).is_empty(), "nothing overtakes it");
        for _ in 3..=5 {
            assert!(window.retry_reason().is_some() && window.awaits_replies());
            assert_eq!(window.reply(None), None, "what came after it settles nothing");
        }
        assert!(window.retry_reason() == Some("busy") && !window.awaits_replies());
        window.rewind();
        assert_eq!(sent(&mut window), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn lines_in_flight_are_bounded_but_a_single_line_may_be_longer() {
        let mut window = window(LINES_MAX as u64 - 1);
        assert!(window.has_room(&line(1, "{}")));
        window.push(line(2, "{}"));
        assert!(!window.has_room(&line(3, "{}")));

        let (large, larger) = ("x".repeat(BYTES_MAX), "x".repeat(BYTES_MAX + 1));
        let mut window = Window::default();
        assert!(window.has_room(&line(1, &larger)));
        window.push(line(1, &large));
        assert!(!window.has_room(&line(2, "x")));
        sent(&mut window);
        window.reply(None);
        assert!(window.has_room(&line(2, &large)));
    }
}
