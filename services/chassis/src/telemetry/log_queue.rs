//! The queue between the code that logs and stderr, so that a stderr that nobody reads never holds up work.
//!
//! `tracing-appender` has such a queue too, but bounds it by lines and not by bytes, and at the end of a process it prints to stdout
//! if its queue is full. Where nobody reads stdout either, the process would never end.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::telemetry::log_limit::LogLimit;

/// The most bytes of lines that wait for stderr. Further lines are left out.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the process waits until the last lines are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The sending end of the queue. A thread writes the lines to stderr.
#[derive(Debug)]
pub(crate) struct LogQueue {
    items: Sender<QueueItem>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Bytes of lines that wait.
    waiting: AtomicUsize,
    /// Lines that were left out, because too many were waiting or because stderr is closed.
    left_out: AtomicU64,
}

#[derive(Debug)]
enum QueueItem {
    Line(Vec<u8>),
    /// Everything before it is written.
    Flush(Sender<()>),
}

/// The logs of a process. Dropping it waits until the lines are written, for a second at most.
#[derive(Debug)]
pub struct Logs(Arc<LogQueue>);

impl LogQueue {
    /// Starts the thread that writes to `stderr`.
    pub(crate) fn start(stderr: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, received) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new().name("logs".into()).spawn(move || write_all(&received, &shared, stderr))?;
        Ok(Self { items, counts })
    }

    /// Lines left out so far.
    pub(crate) fn left_out(&self) -> u64 {
        self.counts.left_out.load(Ordering::Relaxed)
    }

    /// Puts a line into the queue, or leaves it out.
    fn push(&self, line: &[u8]) {
        let room = |waiting: usize| Some(waiting + line.len()).filter(|&sum| sum <= WAITING_BYTES_MAX);
        let has_room = self.counts.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !has_room || self.items.send(QueueItem::Line(line.to_owned())).is_err() {
            self.counts.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Each call is one line, as the subscriber writes it.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(received: &Receiver<QueueItem>, counts: &Counts, mut stderr: impl Write) {
    let mut reported = 0;
    for item in received {
        let line = match item {
            QueueItem::Line(line) => line,
            QueueItem::Flush(done) => {
                // Nobody waits any more if writing took too long.
                let _ = done.send(());
                continue;
            }
        };
        let written = stderr.write_all(&line);
        let waiting = counts.waiting.fetch_sub(line.len(), Ordering::Relaxed) - line.len();
        if written.is_err() {
            counts.left_out.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let left_out = counts.left_out.load(Ordering::Relaxed);
        // In a queue that is still full, the report itself would be left out.
        if left_out > reported && waiting < WAITING_BYTES_MAX / 2 {
            tracing::warn!(lines = left_out - reported, "log lines were left out: stderr was not read");
            reported = left_out;
        }
    }
}

impl Logs {
    pub(crate) fn new(queue: Arc<LogQueue>) -> Self {
        Self(queue)
    }

    /// Sends the message of each panic through the queue. The default would write to stderr at once, and wait there.
    pub fn catch_panics(&self) {
        let (queue, limit) = (Arc::clone(&self.0), LogLimit::default());
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(left_out) = limit.admit() {
                queue.push(panic_message(panic, left_out).as_bytes());
            }
        }));
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let (done, written) = mpsc::channel();
        if self.0.items.send(QueueItem::Flush(done)).is_ok() {
            // A reader of stderr that does not read must not hold up the end of the process.
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

fn panic_message(panic: &PanicHookInfo<'_>, left_out: u64) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
    let what = panic.payload_as_str().unwrap_or("the panic has no message");
    let mut message = format!("thread {name} panicked{place}: {what}");
    if left_out > 0 {
        write!(message, " (messages of {left_out} panics were left out)").expect("a String takes any text");
    }
    message.push('\n');
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        message.push_str(&backtrace.to_string());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stderr whose reader takes what comes only while `open` has a token for it.
    struct Slow {
        open: Receiver<()>,
        lines: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(line).into_owned();
            self.lines.send(text).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stderr_that_nobody_reads_holds_nobody_up_and_what_is_left_out_is_counted() {
        let (reader, open) = mpsc::channel();
        let (lines, read) = mpsc::channel();
        let queue = Arc::new(LogQueue::start(Slow { open, lines }).expect("a thread"));
        let line = vec![b'a'; WAITING_BYTES_MAX / 4];
        for _ in 0..10 {
            queue.push(&line);
        }
        assert_eq!(queue.left_out(), 6);
        let started = std::time::Instant::now();
        drop(Logs::new(Arc::clone(&queue)));
        assert!(started.elapsed() < FLUSH_TIMEOUT * 5);
        for _ in 0..4 {
            reader.send(()).expect("it waits");
            assert_eq!(read.recv().expect("a line").len(), line.len());
        }
        // There is room again.
        queue.push(b"last\n");
        reader.send(()).expect("it waits");
        assert_eq!(read.recv().expect("a line"), "last\n");
        drop(Logs::new(queue));
    }

    #[test]
    fn lines_for_a_closed_stderr_are_counted() {
        let (reader, open) = mpsc::channel();
        drop(reader);
        let queue = Arc::new(LogQueue::start(Slow { open, lines: mpsc::channel().0 }).expect("a thread"));
        queue.push(b"a\n");
        drop(Logs::new(Arc::clone(&queue)));
        assert_eq!(queue.left_out(), 1);
    }
}
