//! Gets that wait until the entry is another than the one that the client has (RFC 7240, `Prefer: wait`).

use std::sync::Arc;
use std::time::Duration;

use chassis::problem::Problem;
use db::Key;
use poem::http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::watch::hub::{Hub, Status, Subscriber, Subscription};
use crate::watch::{Target, Watches};

/// The longest wait, in seconds.
const WAIT_MAX: u64 = 60;

/// How often a long poll reads its key while changes cannot be followed.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a long poll waits to know whether changes can be followed. After that it reads its key at intervals.
const STATUS_WAIT_MAX: Duration = Duration::from_secs(1);

/// What `Prefer` asks for: a wait of this many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preference(pub(crate) u64);

/// A get that waits.
pub(crate) struct LongPoll {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    _subscription: Subscription,
    stop: CancellationToken,
    deadline: Instant,
    /// Whether the rounds tell of changes.
    is_told: bool,
}

impl Preference {
    /// The wait that `headers` ask for. The first one counts. A longer wait than 60 s is 60 s.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all("prefer").iter().filter_map(|field| field.to_str().ok());
        let mut waits = fields.flat_map(|field| field.split(',')).filter_map(wait);
        waits.next().map(|seconds| Self(seconds.min(WAIT_MAX)))
    }

    /// The value of `Preference-Applied`.
    pub(crate) fn applied(self) -> String {
        format!("wait={}", self.0)
    }
}

/// The seconds of a preference, if it is a wait.
fn wait(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_wait = name.trim().eq_ignore_ascii_case("wait") && value.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large is a long wait.
    (is_wait && !value.is_empty()).then(|| value.parse().unwrap_or(u64::MAX))
}

impl Watches {
    /// Whether gets may wait: not once the drain has begun.
    pub(crate) fn may_wait(&self) -> bool {
        !self.shared.stop.is_cancelled()
    }

    /// A long poll of `key`.
    ///
    /// # Errors
    /// `overloaded`: there are too many watches.
    pub(crate) fn long_poll(&self, key: Key, Preference(seconds): Preference) -> Result<LongPoll, Problem> {
        let hub = &self.shared.hub;
        let place = self.place()?;
        let subscriber = Arc::new(Subscriber::Poll(Notify::new()));
        let subscription = hub.subscribe(Target::Keys([key].into()), &subscriber, place);
        Ok(LongPoll {
            hub: Arc::clone(hub),
            subscriber,
            _subscription: subscription,
            stop: self.shared.stop.clone(),
            deadline: Instant::now() + Duration::from_secs(seconds),
            is_told: false,
        })
    }
}

impl LongPoll {
    /// To be called before each read of the key: of what changes after the read, [`LongPoll::changed`] is told.
    pub(crate) async fn prepare(&mut self) {
        let status = self.hub.status(self.deadline.min(Instant::now() + STATUS_WAIT_MAX)).await;
        self.is_told = status == Some(Status::Following) && self.hub.position().is_some();
    }

    /// Whether the client gets what was read, even if it is not new: its time is over, or the process is stopping.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.deadline <= Instant::now()
    }

    /// Waits until the key may have changed, or [`LongPoll::is_over`]. While changes cannot be followed, waits for [`INTERVAL`].
    pub(crate) async fn changed(&self) {
        let again = if self.is_told { self.deadline } else { self.deadline.min(Instant::now() + INTERVAL) };
        let changed = async {
            match &*self.subscriber {
                Subscriber::Poll(changed) => changed.notified().await,
                Subscriber::Stream(_) => unreachable!("a long poll is no stream"),
            }
        };
        tokio::select! {
            () = changed => {}
            // The key is read once more.
            () = sleep_until(again) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_counts() {
        for (field, expected) in [
            ("wait=10", Some(10)),
            ("respond-async, WAIT = \"7\"; x=y", Some(7)),
            ("wait=5, wait=9", Some(5)),
            ("wait=0", Some(0)),
            ("wait=61", Some(60)),
            ("wait=99999999999999999999999", Some(60)),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("waiting=3", None),
            ("return=minimal", None),
        ] {
            let headers =
                HeaderMap::from_iter([("prefer".parse().expect("a name"), field.parse().expect("a value"))]);
            assert_eq!(Preference::of(&headers).map(|wait| wait.0), expected, "{field}");
        }
    }
}
