//! How far a long command is: a line on a terminal that changes, and nothing anywhere else.

use std::fmt::Display;
use std::time::{Duration, Instant};

use chassis::process::terminal::say;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// What is known to have an end shows a bar and the time left.
const BOUNDED: &str = "  {bar:24} {percent:>3} %  {msg}  {eta} left";
const UNBOUNDED: &str = "  {spinner} {elapsed}  {msg}";

/// How often the line changes at least.
const TICK: Duration = Duration::from_millis(200);

/// A line on stderr, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Asked once: the answer is a call of the system.
    shown: bool,
    begun: Instant,
}

impl Progress {
    /// Begins now. `total` is what there is to do, in a unit of the caller's; none if nobody knows.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let (bar, style) = match total {
            Some(total) => (ProgressBar::new(total), BOUNDED),
            None => (ProgressBar::no_length(), UNBOUNDED),
        };
        bar.set_style(ProgressStyle::with_template(style).expect("both templates are valid"));
        let shown = !bar.is_hidden();
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, shown, begun: Instant::now() }
    }

    /// Shows nothing, wherever it is.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), shown: false, begun: Instant::now() }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// `done` of the total is done; `told` says it in words, which cost nothing where they are not shown.
    pub(crate) fn at<T: Display>(&self, done: u64, told: impl FnOnce() -> T) {
        if self.shown {
            self.bar.set_position(done);
            self.bar.set_message(told().to_string());
        }
    }

    /// The same for commands whose work is lines.
    pub(crate) fn at_lines(&self, done: u64, lines: u64) {
        self.at(done, || format!("{}  {}/s", counted(lines), HumanCount(self.per_second(lines))));
    }

    /// Says one line on stderr that stays.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// How long it has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn per_second(&self, count: u64) -> u64 {
        let millis = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        count.saturating_mul(1000) / millis.max(1)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// So many lines, as one says it.
pub(crate) fn counted(lines: u64) -> String {
    format!("{} line{}", HumanCount(lines), if lines == 1 { "" } else { "s" })
}
