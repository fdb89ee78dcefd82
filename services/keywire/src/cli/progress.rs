//! The progress of a long command: one line on a terminal. Nothing is shown where stderr is not a terminal.

use std::fmt::Display;
use std::time::{Duration, Instant};

use chassis::process::terminal::say;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// With a known total: a bar and the time left. The text is cut at the width of the terminal.
const BOUNDED: &str = "  {bar:10} {percent:>3} %  {eta} left  {wide_msg}";
/// Without a known total.
const UNBOUNDED: &str = "  {spinner} {elapsed}  {wide_msg}";

/// The longest time between two updates of the line.
const TICK: Duration = Duration::from_millis(200);

/// The progress line on stderr. Dropping it removes the line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Kept, because finding out is a system call.
    shown: bool,
    begun: Instant,
}

impl Progress {
    /// Starts the clock. `total` is the amount of work in any unit; `None` if it is unknown.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_style(style(total));
        let shown = !bar.is_hidden();
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, shown, begun: Instant::now() }
    }

    /// Measures time and shows nothing.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), shown: false, begun: Instant::now() }
    }

    /// Whether the line is shown.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// The total is known now.
    pub(crate) fn expect(&self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_style(style(Some(total)));
    }

    /// Updates the line: `done` of the total, and a text. `text` is called only if the line is shown.
    pub(crate) fn at<T: Display>(&self, done: u64, text: impl FnOnce() -> T) {
        if self.shown {
            self.bar.set_position(done);
            self.bar.set_message(text().to_string());
        }
    }

    /// Updates the line of a command that processes one `noun` after the other.
    pub(crate) fn at_count(&self, done: u64, count: u64, noun: &str) {
        self.at(done, || format!("{}  {}/s", counted(count, noun), HumanCount(self.per_second(count))));
    }

    /// Prints a line on stderr that stays.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Removes the line.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn per_second(&self, count: u64) -> u64 {
        let millis = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        count.saturating_mul(1000) / millis.max(1)
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = if total.is_some() { BOUNDED } else { UNBOUNDED };
    ProgressStyle::with_template(template).expect("both templates are valid")
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A number in words: "1 line", "2,500 lines".
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}
