//! Lines go out over one socket and their answers come back; when it breaks, over another.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::client::{Answer, Ended, Failure, Side, Socket, one_line};
use crate::cli::progress::Progress;

use super::line::{Batch, Flaw, Line};
use super::window::Window;

/// How long the service may be silent while it owes answers or a socket takes nothing; longer than it gives itself.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// After this long without a settled line it is given up.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// The pause between two sockets, doubled each time that brought nothing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long what a broken socket left under way may still be written: a write has 10 s, and a second for the way.
const AFTERLIFE: Duration = Duration::from_secs(11);

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) written: u64,
    pub(super) refused: u64,
    /// Lines that would have written what has expired.
    pub(super) expired: u64,
}

/// An import under way.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    side: Side<'a>,
    input: Receiver<Batch>,
    input_ended: bool,
    /// Why the input could not be read to its end.
    input_error: Option<io::Error>,
    /// Read, and not under way yet.
    read: VecDeque<Result<Line, Flaw>>,
    window: Window,
    progress: &'a Progress,
    pub(super) tally: Tally,
    /// When it was last seen that it goes on.
    moved: Instant,
    /// Whether the last socket ended without a word about what it had under way. Until that is settled nothing is sent:
    /// a line written late could undo a later one of the same key.
    haunted: bool,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(side: Side<'a>, input: Receiver<Batch>, progress: &'a Progress) -> Self {
        let (read, window, tally) = Default::default();
        let (input_ended, input_error, moved, haunted) = (false, None, Instant::now(), false);
        Self { side, input, input_ended, input_error, read, window, progress, tally, moved, haunted }
    }

    /// Delivers every line, in order, over as many sockets as it takes. Without a service at the beginning, or without
    /// a settled line for a minute, it gives up.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let mut socket = Ok(Socket::connect(self.side).await?);
        let mut pause = PAUSE_MIN;
        loop {
            let before = self.moved;
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
            if self.moved > before {
                pause = PAUSE_MIN;
            }
            match self.next() {
                Some(next) if self.moved.elapsed() > STANDSTILL_MAX => {
                    let gave_up = format!("gave up at line {next} after a minute without progress: {why}");
                    return Err(Failure::Unavailable(gave_up));
                }
                Some(next) if pause == PAUSE_MIN => {
                    self.progress.say(&format!("keywire: {why}; going on with line {next}"));
                }
                Some(_) => {}
                // Nothing is owed: whether there is a service matters when there is more to write.
                None => self.wait_for_input().await,
            }
            sleep(if std::mem::take(&mut self.haunted) { AFTERLIFE } else { pause }).await;
            pause = PAUSE_MAX.min(pause * 2);
            self.window.rewind();
            socket = Socket::connect(self.side).await;
        }
    }

    fn is_done(&self) -> bool {
        self.window.is_empty() && self.read.is_empty() && self.input_ended
    }

    /// The number of the first line that is not settled.
    fn next(&self) -> Option<u64> {
        let waiting = || {
            self.read.front().map(|read| read.as_ref().map_or_else(|flaw| flaw.number, |line| line.number))
        };
        self.window.first().map(|line| line.number).or_else(waiting)
    }

    async fn wait_for_input(&mut self) {
        let batch = self.input.recv().await;
        self.take(batch);
        self.moved = Instant::now();
    }

    /// Sends and settles lines until there are no more. `Unavailable` means that another socket may do better.
    async fn use_up(&mut self, mut socket: Socket) -> Result<(), Failure> {
        // A socket that takes no more may still hold answers.
        let mut broken = None;
        loop {
            if broken.is_none() {
                broken = self.send(&mut socket).await.err();
            }
            if !self.window.awaits_answers() {
                if let Some(why) = broken {
                    return Err(why);
                }
                if let Some(why) = self.window.stuck_by() {
                    return Err(Failure::Unavailable(why.to_owned()));
                }
                if self.is_done() {
                    socket.close().await;
                    return Ok(());
                }
            }
            let may_read = broken.is_none() && self.read.is_empty() && !self.input_ended;
            let mut answer = tokio::select! {
                answer = socket.answer() => Some(answer),
                batch = self.input.recv(), if may_read => {
                    self.take(batch);
                    None
                }
                () = sleep(SILENCE_MAX), if self.window.awaits_answers() => {
                    self.haunted = true;
                    let wait = SILENCE_MAX.as_secs();
                    return Err(Failure::Unavailable(format!("no answer within {wait} s")));
                }
            };
            while let Some(found) = answer {
                match found {
                    Ok(text) => self.answered(text.as_bytes())?,
                    Err(ended) => return Err(self.ended(ended)),
                }
                answer = socket.try_answer().transpose();
            }
        }
    }

    /// Sends what may be under way; what is wrong with the socket otherwise.
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

    /// Lets the next line get under way, if there is one and it may.
    fn enter_next(&mut self) -> bool {
        match self.read.front() {
            Some(Ok(line)) if !self.window.has_room(line) => return false,
            Some(_) => {}
            None => return false,
        }
        match self.read.pop_front() {
            Some(Ok(line)) if line.has_expired() => self.tally.expired += 1,
            Some(Ok(line)) => {
                if self.window.is_empty() {
                    // The input let us wait, not the service.
                    self.moved = Instant::now();
                }
                self.window.push(line);
            }
            Some(Err(flaw)) => self.refuse(flaw.number, &flaw.what),
            None => {}
        }
        true
    }

    fn take(&mut self, batch: Option<Batch>) {
        match batch {
            Some(Ok(batch)) => self.read.extend(batch),
            Some(Err(error)) => (self.input_ended, self.input_error) = (true, Some(error)),
            None => self.input_ended = true,
        }
    }

    fn answered(&mut self, text: &[u8]) -> Result<(), Failure> {
        let answer = Answer::read(text)?;
        if !self.window.awaits_answers() {
            return Err(Failure::Unavailable(format!("an answer to nothing: {}", answer.message)));
        }
        let again = if answer.may_pass() { Some(answer.message.as_str()) } else { None };
        let Some(line) = self.window.answer(again) else { return Ok(()) };
        self.moved = Instant::now();
        match (answer.status, answer.code.as_deref()) {
            // A delete of what is not there leaves it as it was to be.
            (200, _) | (404, None) => self.tally.written += 1,
            (_, Some("bad_ttl")) if line.has_expired() => self.tally.expired += 1,
            _ => self.refuse(line.number, &answer.message),
        }
        self.progress.at_lines(line.end, self.tally.settled());
        Ok(())
    }

    fn refuse(&mut self, number: u64, why: &str) {
        self.tally.refused += 1;
        // JSON counts lines too, and a message has but one.
        let why = one_line(why).replace(" at line 1 column ", " at column ");
        self.progress.say(&format!("keywire: line {number}: {why}"));
    }

    /// The socket ended: if with a goodbye, after the answers to everything that the service had taken in.
    fn ended(&mut self, ended: Ended) -> Failure {
        self.haunted = matches!(ended, Ended::Broken(_)) && self.window.awaits_answers();
        let too_long = matches!(&ended, Ended::Closed(Some(frame)) if frame.code == CloseCode::Size);
        if too_long
            && self.window.awaits_answers()
            && self.window.stuck_by().is_none()
            && let Some(line) = self.window.settle()
        {
            self.moved = Instant::now();
            self.refuse(line.number, "longer than this service takes");
        }
        ended.into()
    }
}

impl Tally {
    /// How many lines are done with.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.refused + self.expired
    }
}

async fn in_time(sending: impl Future<Output = Result<(), Ended>>) -> Result<(), Failure> {
    let Ok(sent) = timeout(SILENCE_MAX, sending).await else {
        let wait = SILENCE_MAX.as_secs();
        return Err(Failure::Unavailable(format!("the socket took nothing for {wait} s")));
    };
    Ok(sent?)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::File("cannot read the input to its end".into(), error)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::super::line::line;
    use super::*;

    #[test]
    fn what_expired_on_its_way_is_no_refusal() {
        let late = br#"{"message":"expires_at is not in the future","status":422,"code":"bad_ttl"}"#;
        for (expires_at, refused, expired) in [(1_u64, 0, 1), (9_000_000_000_000_000, 1, 0)] {
            let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
            let mut delivery =
                Delivery::new(Side { url: &url, bearer: None, roots: None }, channel(1).1, &progress);
            let text = format!(r#"{{"key":"k","value":"v","expires_at":{expires_at}}}"#);
            delivery.window.push(line(1, &text));
            delivery.window.send().expect("it may go");
            delivery.answered(late).expect("it is an answer");
            assert_eq!((delivery.tally.refused, delivery.tally.expired), (refused, expired), "{text}");
        }
    }

    #[test]
    fn an_answer_to_nothing_settles_nothing() {
        let (url, progress) = ("http://127.0.0.1:8000".parse().expect("a URL"), Progress::hidden());
        let mut delivery =
            Delivery::new(Side { url: &url, bearer: None, roots: None }, channel(1).1, &progress);
        assert!(delivery.answered(br#"{"message":"k created","status":200}"#).is_err());
        assert_eq!(delivery.tally.settled(), 0);
    }
}
