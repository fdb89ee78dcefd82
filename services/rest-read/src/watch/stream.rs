//! The response to a watch: a stream of events that ends when the client leaves, the process stops or the database is lost.

mod opening;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::Body;
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::opening::{Opening, Shared};
use crate::watch::catch_up::{Begin, CLIENT_TIMEOUT as SNAPSHOT_CLIENT_TIMEOUT, Part};
use crate::watch::hub::Subscription;
use crate::watch::position::{Position, ResetReason};
use crate::watch::watcher::{Next, Watcher};
use crate::watch::{cursor, event};

/// How often a client hears something.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A stream that has seen no database for this long ends.
const BLIND_MAX: Duration = Duration::from_secs(30);

/// How long a client may take nothing.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes that are given to the connection at once.
const PART_BYTES_MAX: usize = 16 * 1024;

/// After how many milliseconds a client comes back. Each is told another number, so that not all come back at once.
const RETRY_MILLIS: RangeInclusive<u64> = 1000..=5000;

/// The stream of one watch.
pub(crate) struct WatchStream {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    _subscription: Subscription,
    phase: Phase,
    /// The position of the last id, or that of the client's cursor. `None` before the first snapshot.
    position: Option<Arc<Position>>,
    /// Whether an id was sent.
    is_ready: bool,
    /// Whether events were sent since the last id.
    has_news: bool,
    /// Whether a snapshot was sent.
    had_snapshot: bool,
    /// When the client must hear something.
    progress_due: Instant,
    /// When the stream ends. `None` before the drain.
    end_due: Option<Instant>,
}

/// What the stream does.
#[derive(Debug)]
enum Phase {
    /// It has sent nothing yet.
    Opening(Opening),
    /// It sends what is read for it alone.
    CatchingUp(mpsc::Receiver<Part>),
    /// It sends what the rounds bring.
    Following,
}

/// What a step of the stream has brought.
enum Step {
    Send(Bytes),
    /// Nothing yet.
    Again,
    End,
}

impl WatchStream {
    pub(crate) fn new(
        shared: Arc<Shared>,
        watcher: Arc<Watcher>,
        subscription: Subscription,
        opening: Opening,
    ) -> Self {
        Self {
            shared,
            watcher,
            _subscription: subscription,
            phase: Phase::Opening(opening),
            position: None,
            is_ready: false,
            has_news: false,
            had_snapshot: false,
            progress_due: Instant::now() + PROGRESS_INTERVAL,
            end_due: None,
        }
    }

    /// The body of the response.
    pub(crate) fn into_body(self) -> Body {
        let parts = stream::unfold(self, |mut stream| async {
            let bytes = stream.next().await?;
            Some((Ok(bytes), stream))
        });
        Body::from_bytes_stream::<_, Bytes, io::Error>(parts)
    }

    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.must_end() {
                return None;
            }
            let step = match &mut self.phase {
                Phase::Opening(opening) => {
                    let opening = opening.clone();
                    Step::Send(self.open(opening))
                }
                Phase::CatchingUp(parts) => {
                    let part = tokio::select! {
                        biased;
                        // Nothing is lost: the client has the id from before, or none.
                        () = self.shared.stop.cancelled() => return None,
                        part = parts.recv() => Some(part?),
                        () = sleep_until(self.progress_due) => None,
                    };
                    Step::Send(part.map_or(event::COMMENT.into(), |part| self.part(part)))
                }
                Phase::Following => self.follow().await,
            };
            match step {
                Step::Send(bytes) => {
                    self.progress_due = Instant::now() + PROGRESS_INTERVAL;
                    return Some(bytes);
                }
                Step::Again => {}
                Step::End => return None,
            }
        }
    }

    /// The first line, and how the stream goes on.
    fn open(&mut self, opening: Opening) -> Bytes {
        let mut first = event::retry(rand::rng().random_range(RETRY_MILLIS));
        match opening {
            Opening::Snapshot => self.catch_up(Begin::Snapshot),
            Opening::Now => match self.shared.hub.position() {
                Some(position) => {
                    first += &self.id(position);
                    self.join();
                }
                // The rounds begin anew just now.
                None => self.catch_up(Begin::Now),
            },
            Opening::After(position) => {
                self.position = Some(position);
                self.join();
            }
            Opening::Reset(reason) => first += &self.reset(reason),
        }
        first.into()
    }

    /// What to send for a part of what is read for this stream alone.
    fn part(&mut self, part: Part) -> Bytes {
        match part {
            Part::Events(events) => events,
            Part::Reset(reason) => {
                self.note_reset(reason);
                event::reset(reason).into()
            }
            Part::Done(position) => {
                let id = self.id(position);
                self.join();
                id.into()
            }
        }
    }

    /// A step of following the rounds.
    async fn follow(&mut self) -> Step {
        let mut bytes = Vec::new();
        // Read before the outbox: what the rounds brought up to there is in the outbox, or was sent.
        let mut live = self.shared.hub.position();
        loop {
            match self.watcher.next(PART_BYTES_MAX - bytes.len()) {
                Next::Send(part) => {
                    self.has_news = true;
                    bytes.extend_from_slice(&part);
                    if bytes.len() == PART_BYTES_MAX {
                        return Step::Send(bytes.into());
                    }
                }
                Next::Arrived(position) => {
                    if !self.is_ready || self.has_news {
                        bytes.extend_from_slice(self.id(position).as_bytes());
                        return Step::Send(bytes.into());
                    }
                    self.position = Some(position);
                    live = None;
                }
                // The watcher says the same when it is asked again.
                _ if !bytes.is_empty() => return Step::Send(bytes.into()),
                Next::Wait => return self.wait(live).await,
                Next::Joining => return self.wait(None).await,
                Next::Join => self.join(),
                Next::CatchUp => {
                    let position = self.position.clone().expect("a stream that follows has a position");
                    self.catch_up(Begin::After(position));
                    return Step::Again;
                }
                Next::Reset(reason) => return Step::Send(self.reset(reason).into()),
                Next::End => return Step::End,
            }
        }
    }

    /// Waits until there is something to do. `live` is the position of the rounds if the client has everything up to it.
    async fn wait(&mut self, live: Option<Arc<Position>>) -> Step {
        let end_due = self.end_due;
        let end = async {
            match end_due {
                Some(due) => sleep_until(due).await,
                None => self.shared.stop.cancelled().await,
            }
        };
        tokio::select! {
            biased;
            () = self.watcher.changed() => Step::Again,
            () = end => if end_due.is_some() { Step::End } else { Step::Again },
            () = sleep_until(self.progress_due) => self.progress(live),
        }
    }

    /// Whether the stream ends here: the drain has begun, its time has come, and it is not within a round.
    fn must_end(&mut self) -> bool {
        if self.end_due.is_none() && self.shared.stop.is_cancelled() {
            let delay = self.shared.end_within.mul_f64(rand::rng().random());
            self.end_due = Some(Instant::now() + delay);
        }
        self.end_due.is_some_and(|due| due <= Instant::now()) && !self.has_news
    }

    /// Tells the client that it has everything, if that is known.
    fn progress(&mut self, live: Option<Arc<Position>>) -> Step {
        let blind = self.shared.hub.last_look().at.elapsed();
        if blind > BLIND_MAX {
            return Step::End;
        }
        if !self.is_ready || blind > PROGRESS_INTERVAL {
            return Step::Send(event::COMMENT.into());
        }
        let position = self.position.clone().expect("a stream with an id has a position");
        // A start may have read a later snapshot than the last round.
        let position = live.filter(|live| live.covers(&position)).unwrap_or(position);
        Step::Send(self.id(position).into())
    }

    /// The event that tells the client that it has everything up to `position`.
    fn id(&mut self, position: Arc<Position>) -> String {
        let cursor = cursor::encode(&position, self.watcher.fingerprint);
        self.position = Some(position);
        self.has_news = false;
        if std::mem::replace(&mut self.is_ready, true) {
            event::progress(&cursor)
        } else {
            event::ready(&cursor)
        }
    }

    /// Takes part in the rounds, from the position of the last id on.
    fn join(&mut self) {
        let position = self.position.clone().expect("a stream joins after an id or a cursor");
        self.watcher.limit_client(CLIENT_TIMEOUT);
        self.shared.hub.join(&self.watcher, position);
        self.phase = Phase::Following;
    }

    /// Reads for this stream alone.
    fn catch_up(&mut self, begin: Begin) {
        self.watcher.leave();
        self.watcher.limit_client(SNAPSHOT_CLIENT_TIMEOUT);
        self.had_snapshot |= matches!(begin, Begin::Snapshot);
        self.phase = Phase::CatchingUp(self.shared.catch_ups.start(&self.watcher, begin, self.had_snapshot));
    }

    /// Begins anew.
    fn reset(&mut self, reason: ResetReason) -> String {
        self.note_reset(reason);
        self.catch_up(Begin::Snapshot);
        event::reset(reason)
    }

    fn note_reset(&mut self, reason: ResetReason) {
        self.shared.metrics.reset(reason);
        self.had_snapshot = true;
        // A snapshot ends with `ready`.
        self.is_ready = false;
    }
}

#[cfg(test)]
mod tests;
