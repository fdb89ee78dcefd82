//! Sends the lines over a socket and counts the replies. When the socket breaks, it opens another one and continues.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::client::{Failure, Reply, Socket, SocketError, Target, one_line};
use crate::cli::progress::Progress;

use super::counts::{LineCounts, Unit};
use super::foreign::rows;
use super::line::{BadLine, Chunk, ImportLine};
use super::window::Window;

/// How long the server may send no reply, or the socket may accept nothing. Longer than the time limits of the server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The import gives up after this time without a settled line.
const STALL_MAX: Duration = Duration::from_mins(1);

/// The pause before the next socket. It doubles after each socket that settled no line.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long the server may still write the lines that were in flight on a broken socket: a write has 10 s, and the network 1 s.
const LATE_WRITE_MAX: Duration = Duration::from_secs(11);

/// A running import.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    target: Target<'a>,
    unit: Unit,
    input: Receiver<Chunk>,
    input_ended: bool,
    /// The error that ended the input.
    input_error: Option<io::Error>,
    /// Lines that were read and are not in flight yet.
    read: VecDeque<Result<ImportLine, BadLine>>,
    window: Window,
    progress: &'a Progress,
    pub(super) counts: LineCounts,
    /// When a line was last settled, or input arrived for which the import had waited.
    last_progress: Instant,
    /// Whether the last socket broke with lines in flight. The server may still write them, and so overwrite a later line of the
    /// same key; nothing is sent until that can no longer happen.
    may_write_late: bool,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(target: Target<'a>, input: Receiver<Chunk>, progress: &'a Progress) -> Self {
        Self {
            target,
            unit: Unit::Line,
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

    /// A delivery of rows: each line has a key, and a condition only if its key is to be left as it is.
    pub(super) fn of_rows(target: Target<'a>, input: Receiver<Chunk>, progress: &'a Progress) -> Self {
        Self { unit: Unit::Row, ..Self::new(target, input, progress) }
    }

    /// The counts and the duration in words.
    pub(super) fn summary(&self) -> String {
        self.counts.summary(self.unit, self.progress.elapsed().as_secs_f64())
    }

    /// Sends every line, in order, over as many sockets as needed. It fails if the first socket cannot be opened, or if no line
    /// is settled for a minute.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
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
                    return self.input_error.take().map_or(Ok(()), |error| Err(unreadable(error)));
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
                    // Until now the import waited for its input, not for the server.
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
        match (reply.status, reply.code.as_deref()) {
            // After a delete of a missing key the store is as the line wants it.
            (200, _) | (404, None) => self.counts.written += 1,
            (_, Some("bad_ttl")) if line.has_expired() => self.counts.expired += 1,
            (412, Some("rev_mismatch")) if self.unit == Unit::Row => self.counts.existing += 1,
            _ => self.refuse_line(&line, &reply.message),
        }
        self.progress.at_count(line.end, self.counts.settled(), self.unit.noun());
        Ok(())
    }

    fn refuse_line(&mut self, line: &ImportLine, why: &str) {
        match self.unit {
            Unit::Line => self.refuse(line.number, why),
            // The number of a row is that of the sorted copy, so it tells the user nothing.
            Unit::Row => self.refuse(line.number, &format!("the key {}: {why}", rows::key(&line.text))),
        }
    }

    fn refuse(&mut self, number: u64, why: &str) {
        self.counts.refused += 1;
        // The parser of JSON counts lines within the message, which has only one.
        let why = one_line(why).replace(" at line 1 column ", " at column ");
        self.progress.say(&format!("keywire: {} {number}: {why}", self.unit.noun()));
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

fn unreadable(error: io::Error) -> Failure {
    Failure::File("cannot read the input to its end".into(), error)
}

#[cfg(test)]
mod tests;
