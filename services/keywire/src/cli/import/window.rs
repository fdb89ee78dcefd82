//! The lines under way: sent in order, settled in order. Pure.
//!
//! A line that was not applied goes again, and with it every line after it: were it sent alone, it could overwrite a later
//! line of the same key. So nothing is settled past it, and nothing goes again before every answer has come.

use std::collections::VecDeque;

use super::line::Line;

/// Lines under way, at most. The service takes in twice as many, so it never waits for us to read its answers.
const LINES_MAX: usize = 512;

/// Bytes under way, at most, unless it is a single line. The service takes in as many.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The lines that are not settled.
#[derive(Debug, Default)]
pub(super) struct Window {
    lines: VecDeque<Line>,
    bytes: usize,
    /// How many of them are sent.
    sent: usize,
    /// How many of them have answers that settle nothing, because the first of them must go again.
    void: usize,
    /// Why the first must go again.
    stuck_by: Option<String>,
}

impl Window {
    /// Whether `line` may join.
    pub(super) fn has_room(&self, line: &Line) -> bool {
        let fits = self.lines.len() < LINES_MAX && self.bytes + line.text.len() <= BYTES_MAX;
        fits || self.lines.is_empty()
    }

    /// Puts a line last.
    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
    }

    /// The next line to send, which counts as sent. None while the first has to go again.
    pub(super) fn send(&mut self) -> Option<&Line> {
        let line = if self.stuck_by.is_none() { self.lines.get(self.sent) } else { None };
        self.sent += usize::from(line.is_some());
        line
    }

    /// Whether answers are on their way.
    pub(super) fn awaits_answers(&self) -> bool {
        self.void < self.sent
    }

    /// Whether everything is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Why the first line has to go again, if it has to.
    pub(super) fn stuck_by(&self) -> Option<&str> {
        self.stuck_by.as_deref()
    }

    /// The first line that is not settled.
    pub(super) fn first(&self) -> Option<&Line> {
        self.lines.front()
    }

    /// Takes the next answer: the line it settles, if any. `again` is why its line has to go again.
    pub(super) fn answer(&mut self, again: Option<&str>) -> Option<Line> {
        if self.stuck_by.is_none() {
            self.stuck_by = again.map(str::to_owned);
        }
        if self.stuck_by.is_none() {
            return self.settle();
        }
        self.void += 1;
        None
    }

    /// Takes away the first line, which is answered.
    pub(super) fn settle(&mut self) -> Option<Line> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.text.len();
        self.sent -= 1;
        Some(line)
    }

    /// No more answers come: every line that is not settled is to be sent again.
    pub(super) fn rewind(&mut self) {
        (self.sent, self.void, self.stuck_by) = (0, 0, None);
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
        let settled: Vec<u64> = (0..3).filter_map(|_| window.answer(None)).map(|line| line.number).collect();
        assert_eq!(settled, [1, 2, 3]);
        assert!(window.is_empty() && !window.awaits_answers());
    }

    #[test]
    fn a_line_that_was_not_applied_goes_again_with_all_after_it_once_every_answer_is_there() {
        let mut window = window(5);
        assert_eq!(sent(&mut window), [1, 2, 3, 4, 5]);
        assert_eq!(window.answer(None).map(|line| line.number), Some(1));
        assert_eq!(window.answer(Some("busy")), None);
        window.push(line(6, "{}"));
        assert!(sent(&mut window).is_empty(), "nothing overtakes it");
        for _ in 3..=5 {
            assert!(window.stuck_by().is_some() && window.awaits_answers());
            assert_eq!(window.answer(None), None, "what came after it settles nothing");
        }
        assert!(window.stuck_by() == Some("busy") && !window.awaits_answers());
        window.rewind();
        assert_eq!(sent(&mut window), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_under_way_is_bounded_but_a_single_line_always_goes() {
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
        window.answer(None);
        assert!(window.has_room(&line(2, &large)));
    }
}
