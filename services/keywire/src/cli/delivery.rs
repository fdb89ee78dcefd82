//! Delivers many writes: sends lines over a socket and counts the replies. After a broken socket, continues over a new one.

mod counts;
mod line;
mod outcome;
mod report;
mod window;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::client::{Failure, Reply, Socket, SocketError, Target, one_line};
use crate::cli::progress::Progress;

use counts::LineCounts;
use outcome::{Outcome, outcome};
use window::Window;

pub(crate) use counts::Unit;
pub(crate) use line::{BadLine, Chunk, Line};

/// How long the server may send no reply, or the socket may accept nothing. Longer than the time limits of the server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How many refused keys are named. All are counted.
const NAMED_KEYS_MAX: u64 = 20;

/// A delivery gives up after this time without a settled line.
pub(crate) const STALL_MAX: Duration = Duration::from_mins(1);

/// The pause before the next socket. It doubles after each socket that settled no line.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long the server may still write the lines that were in flight on a broken socket: a write has 10 s, and the network 1 s.
const LATE_WRITE_MAX: Duration = Duration::from_secs(11);

/// A running delivery.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    target: Target<'a>,
    unit: Unit,
    input: Receiver<Chunk>,
    input_ended: bool,
    /// Why the input ended before all of it was read.
    input_error: Option<Failure>,
    /// Lines that were read and are not in flight yet.
    read: VecDeque<Result<Line, BadLine>>,
    window: Window,
    progress: &'a Progress,
    counts: LineCounts,
    /// When a line was last settled, or input arrived for which the delivery had waited.
    last_progress: Instant,
    /// Whether the last socket broke with lines in flight. The server may still write them, and so overwrite a later line of the
    /// same key; nothing is sent until that can no longer happen.
    may_write_late: bool,
}

impl<'a> Delivery<'a> {
    /// A delivery of the lines of `input`. If `unit` is a row or a key, a line whose condition is false counts as skipped, and not as
    /// refused.
    pub(crate) fn new(
        target: Target<'a>,
        unit: Unit,
        input: Receiver<Chunk>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            target,
            unit,
            input,
            input_ended: false,
            input_error: None,
            read: VecDeque::new(),
            window: Window::default(),
            progress,
            counts: LineCounts::default(),
            last_progress: Instant::now(),
            may_write_late: false,
        }
    }

    /// Sends every line, in order, over as many sockets as needed. It fails if the first socket cannot be opened, or if no line
    /// is settled for a minute.
    pub(crate) async fn run(&mut self) -> Result<(), Failure> {
        let mut socket = Ok(Socket::connect(self.target).await?);
        let mut pause = PAUSE_MIN;
        loop {
            let (before, noun) = (self.last_progress, self.unit.noun());
            let used = match socket {
                Ok(socket) => self.use_up(socket).await,
                Err(failure) => Err(failure),
            };
            let why = match used {
                _ if self.is_done() => {
                    return self.input_error.take().map_or(Ok(()), Err);
                }
                Err(Failure::Unavailable(why)) => one_line(&why),
                other => return other,
            };
            if self.last_progress > before {
                pause = PAUSE_MIN;
            }
            match self.next_number() {
                Some(next) if self.last_progress.elapsed() > STALL_MAX => {
                    let gave_up = format!("gave up at {noun} {next} after a minute without progress: {why}");
                    return Err(Failure::Unavailable(gave_up));
                }
                Some(next) if pause == PAUSE_MIN => {
                    self.progress.say(&format!("keywire: {why}; going on with {noun} {next}"));
                }
                Some(_) => {}
                // No line is waiting: the server is needed only when the input has more.
                None => self.wait_for_input().await,
            }
            sleep(if std::mem::take(&mut self.may_write_late) { LATE_WRITE_MAX } else { pause }).await;
            pause = PAUSE_MAX.min(pause * 2);
            self.window.rewind();
            socket = Socket::connect(self.target).await;
        }
    }

    fn is_done(&self) -> bool {
        self.window.is_empty() && self.read.is_empty() && self.input_ended
    }

    /// The number of the first line that is not settled yet.
    fn next_number(&self) -> Option<u64> {
        let waiting =
            || self.read.front().map(|read| read.as_ref().map_or_else(|bad| bad.number, |line| line.number));
        self.window.first().map(|line| line.number).or_else(waiting)
    }

    async fn wait_for_input(&mut self) {
        let chunk = self.input.recv().await;
        self.take(chunk);
        self.last_progress = Instant::now();
    }

    /// Sends and settles lines until the input ends. After `Unavailable`, another socket may succeed.
    async fn use_up(&mut self, mut socket: Socket) -> Result<(), Failure> {
        // A socket that accepts no more messages may still have replies.
        let mut broken = None;
        loop {
            if broken.is_none() {
                broken = self.send(&mut socket).await.err();
            }
            if !self.window.awaits_replies() {
                if let Some(why) = broken {
                    return Err(why);
                }
                if let Some(why) = self.window.retry_reason() {
                    return Err(Failure::Unavailable(why.to_owned()));
                }
                if self.is_done() {
                    socket.close().await;
                    return Ok(());
                }
            }
            let may_read = broken.is_none() && self.read.is_empty() && !self.input_ended;
            let mut next_reply = tokio::select! {
                reply = socket.reply() => Some(reply),
                chunk = self.input.recv(), if may_read => {
                    self.take(chunk);
                    None
                }
                () = sleep(SILENCE_MAX), if self.window.awaits_replies() => {
                    self.may_write_late = true;
                    let wait = SILENCE_MAX.as_secs();
                    return Err(Failure::Unavailable(format!("no reply within {wait} s")));
                }
            };
            while let Some(reply) = next_reply {
                match reply {
                    Ok(text) => self.replied(text.as_bytes())?,
                    Err(error) => return Err(self.ended(error)),
                }
                next_reply = socket.try_reply().transpose();
            }
        }
    }

    /// Sends as many lines as the window allows. An error means that the socket is broken.
    async fn send(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        loop {
            while let Some(line) = self.window.send() {
                in_time(socket.feed(line.text.clone())).await?;
            }
            if !self.enter_next() {
                break;
            }
        }
        in_time(socket.flush()).await
    }

    /// Moves the next line into the window. Returns false if there is no line, or no room.
    fn enter_next(&mut self) -> bool {
        match self.read.front() {
            Some(Ok(line)) if !self.window.has_room(line) => return false,
            Some(_) => {}
            None => return false,
        }
        match self.read.pop_front().expect("the queue has a front") {
            Ok(line) if line.has_expired() => self.counts.expired += 1,
            Ok(line) => {
                if self.window.is_empty() {
                    // Until now the delivery waited for its input, not for the server.
                    self.last_progress = Instant::now();
                }
                self.window.push(line);
            }
            Err(bad) => self.refuse(bad.number, &bad.why),
        }
        true
    }

    fn take(&mut self, chunk: Option<Chunk>) {
        match chunk {
            Some(Ok(lines)) => self.read.extend(lines),
            Some(Err(error)) => (self.input_ended, self.input_error) = (true, Some(error)),
            None => self.input_ended = true,
        }
    }

    fn replied(&mut self, text: &[u8]) -> Result<(), Failure> {
        let reply = Reply::parse(text)?;
        if !self.window.awaits_replies() {
            return Err(Failure::Unavailable(format!("unexpected reply: {}", reply.message)));
        }
        let retry_reason = if reply.is_transient() { Some(reply.message.as_str()) } else { None };
        let Some(line) = self.window.reply(retry_reason) else { return Ok(()) };
        self.last_progress = Instant::now();
        match outcome(self.unit, &line, &reply) {
            Outcome::Refused => self.refuse_line(&line, &reply.message),
            Outcome::Written => self.counts.written += 1,
            Outcome::Expired => self.counts.expired += 1,
            Outcome::Existing => self.counts.existing += 1,
            Outcome::Gone => self.counts.gone += 1,
        }
        self.progress.at_count(line.end, self.counts.settled(), self.unit.noun());
        Ok(())
    }

    fn refuse_line(&mut self, line: &Line, why: &str) {
        match self.unit {
            Unit::Line => self.refuse(line.number, why),
            // Rows and keys are numbered by this process, so the number alone tells the user nothing.
            Unit::Row | Unit::Key => {
                self.refuse(line.number, &format!("the key {}: {why}", line.quoted_key()));
            }
        }
    }

    fn refuse(&mut self, number: u64, why: &str) {
        self.counts.refused += 1;
        // The parser of JSON counts lines within the message, which has only one.
        let why = one_line(why).replace(" at line 1 column ", " at column ");
        // With a token that may not write these keys, the server refuses all of them.
        if self.unit != Unit::Key || self.counts.refused <= NAMED_KEYS_MAX {
            self.progress.say(&format!("keywire: {} {number}: {why}", self.unit.noun()));
        }
    }

    /// The socket ended. Before a close frame, the server has replied to every message that it took in. If the message was too
    /// long, the first line without a reply is refused.
    fn ended(&mut self, error: SocketError) -> Failure {
        self.may_write_late = matches!(error, SocketError::Broken(_)) && self.window.awaits_replies();
        let too_long = matches!(&error, SocketError::Closed(Some(frame)) if frame.code == CloseCode::Size);
        if too_long
            && self.window.awaits_replies()
            && self.window.retry_reason().is_none()
            && let Some(line) = self.window.settle()
        {
            self.last_progress = Instant::now();
            self.refuse_line(&line, "longer than the service accepts");
        }
        error.into()
    }
}

async fn in_time(sending: impl Future<Output = Result<(), SocketError>>) -> Result<(), Failure> {
    let Ok(sent) = timeout(SILENCE_MAX, sending).await else {
        let wait = SILENCE_MAX.as_secs();
        return Err(Failure::Unavailable(format!("the socket accepted nothing for {wait} s")));
    };
    Ok(sent?)
}

#[cfg(test)]
mod tests;
