//! A stream: the body of the response to `GET /watch`. It ends when the client leaves, the process stops, the database is out of reach, or
//! changes cannot be followed.

mod phase;
mod shared;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::Body;
use rand::RngExt as _;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::phase::Opening;
use self::phase::Phase;
pub(crate) use self::shared::Shared;
use crate::watch::catch_up::{CLIENT_TIMEOUT as SNAPSHOT_CLIENT_TIMEOUT, Part, Scope};
use crate::watch::hub::Subscription;
use crate::watch::position::{Position, ResetReason};
use crate::watch::watcher::{Next, Watcher};
use crate::watch::{cursor, event};

/// After this long without a byte, a stream sends `progress`, or a comment.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A stream ends when the last poll of the database that succeeded is older than this.
const WITHOUT_DATABASE_MAX: Duration = Duration::from_secs(30);

/// How long a client may read nothing before its connection is closed, while its stream follows the rounds.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes that are handed to the connection at once.
const SEND_BYTES_MAX: usize = 16 * 1024;

/// How long a client waits before it connects again, in milliseconds. The number is random, so that clients do not all come back at once.
const RETRY_MILLIS: RangeInclusive<u64> = 1000..=5000;

/// The stream of one watch.
pub(crate) struct WatchStream {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    _subscription: Subscription,
    phase: Phase,
    /// The position of the last id, or of the client's cursor. `None`: the stream had neither.
    position: Option<Arc<Position>>,
    /// Whether `ready` was sent since the stream began, or since the last reset.
    is_ready: bool,
    /// Whether events were sent since the last id.
    has_events: bool,
    /// Whether a snapshot was begun. If so, the stream is not reset for too many changed keys.
    had_snapshot: bool,
    /// When `progress` or a comment is due, unless something else is sent before.
    progress_due: Instant,
    /// When the stream ends. `None` before the drain.
    end_due: Option<Instant>,
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
            has_events: false,
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
                        // Nothing is lost: the client resumes from its last id, or begins anew.
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
            Opening::Snapshot => self.catch_up(Scope::Snapshot),
            Opening::Now => match self.shared.hub.position() {
                Some(position) => {
                    first += &self.id(position);
                    self.join();
                }
                // There is no round yet.
                None => self.catch_up(Scope::Now),
            },
            Opening::After(position) => {
                self.position = Some(position);
                self.join();
            }
            Opening::Reset(reason) => first += &self.reset(reason),
        }
        first.into()
    }

    /// What to send for a part of a catch-up.
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

    /// One step of following the rounds.
    async fn follow(&mut self) -> Step {
        let mut bytes = Vec::new();
        // Must be read before the outbox: then what the rounds brought up to this position is in the outbox, or was sent.
        let mut live = self.shared.hub.position();
        loop {
            match self.watcher.next(SEND_BYTES_MAX - bytes.len()) {
                Next::Send(part) => {
                    self.has_events = true;
                    bytes.extend_from_slice(&part);
                    if bytes.len() == SEND_BYTES_MAX {
                        return Step::Send(bytes.into());
                    }
                }
                Next::RoundSent(position) => {
                    if !self.is_ready || self.has_events {
                        bytes.extend_from_slice(self.id(position).as_bytes());
                        return Step::Send(bytes.into());
                    }
                    self.position = Some(position);
                    live = None;
                }
                // The next call of `next` says the same again.
                _ if !bytes.is_empty() => return Step::Send(bytes.into()),
                Next::Wait => return self.wait(live).await,
                Next::Joining => return self.wait(None).await,
                Next::Join => self.join(),
                Next::CatchUp => {
                    let position = self.position.clone().expect("a stream that follows has a position");
                    self.catch_up(Scope::After(position));
                    return Step::Again;
                }
                Next::Reset(reason) => return Step::Send(self.reset(reason).into()),
                Next::End => return Step::End,
            }
        }
    }

    /// Waits until there is something to do. `live`: the position of the rounds, if the client has everything up to it.
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

    /// Whether the stream ends here: the drain has begun, the random delay is over, and no events were sent since the last id.
    fn must_end(&mut self) -> bool {
        if self.end_due.is_none() && self.shared.stop.is_cancelled() {
            let delay = self.shared.end_within.mul_f64(rand::rng().random());
            self.end_due = Some(Instant::now() + delay);
        }
        self.end_due.is_some_and(|due| due <= Instant::now()) && !self.has_events
    }

    /// What to send after [`PROGRESS_INTERVAL`] without a byte: `progress` if `ready` was sent and the database was polled since,
    /// otherwise a comment. Ends a stream that has been without the database for too long.
    fn progress(&mut self, live: Option<Arc<Position>>) -> Step {
        let without_database = self.shared.hub.last_poll().at.elapsed();
        if without_database > WITHOUT_DATABASE_MAX {
            return Step::End;
        }
        if !self.is_ready || without_database > PROGRESS_INTERVAL {
            return Step::Send(event::COMMENT.into());
        }
        let position = self.position.clone().expect("a stream with an id has a position");
        // A catch-up may have read a later snapshot than the last round.
        let position = live.filter(|live| live.covers(&position)).unwrap_or(position);
        Step::Send(self.id(position).into())
    }

    /// The event `ready` or `progress` for `position`: the client has everything up to it.
    fn id(&mut self, position: Arc<Position>) -> String {
        let cursor = cursor::encode(&position, self.watcher.fingerprint);
        self.position = Some(position);
        self.has_events = false;
        if std::mem::replace(&mut self.is_ready, true) {
            event::progress(&cursor)
        } else {
            event::ready(&cursor)
        }
    }

    /// Joins the rounds, at the position of the last id.
    fn join(&mut self) {
        let position = self.position.clone().expect("a stream joins after an id or a cursor");
        self.watcher.limit_client(CLIENT_TIMEOUT);
        self.shared.hub.join(&self.watcher, position);
        self.phase = Phase::Following;
    }

    /// Leaves the rounds, and starts a catch-up.
    fn catch_up(&mut self, scope: Scope) {
        self.watcher.leave();
        self.watcher.limit_client(SNAPSHOT_CLIENT_TIMEOUT);
        self.had_snapshot |= matches!(scope, Scope::Snapshot);
        self.phase = Phase::CatchingUp(self.shared.catch_ups.start(&self.watcher, scope, self.had_snapshot));
    }

    /// Starts a snapshot. Returns the event `reset`.
    fn reset(&mut self, reason: ResetReason) -> String {
        self.note_reset(reason);
        self.catch_up(Scope::Snapshot);
        event::reset(reason)
    }

    /// Notes that `reset` is sent, and a snapshot follows.
    fn note_reset(&mut self, reason: ResetReason) {
        self.shared.metrics.reset(reason);
        self.had_snapshot = true;
        // A snapshot ends with `ready`.
        self.is_ready = false;
    }
}

#[cfg(test)]
mod tests;
