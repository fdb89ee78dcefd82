//! Long polls: gets that wait until the client's version is not the current one any more (RFC 7240, `Prefer: wait`).

use std::sync::Arc;
use std::time::Duration;

use chassis::problem::Problem;
use db::Key;
use poem::http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::watch::hub::{FollowStatus, Hub, Subscriber, Subscription};
use crate::watch::{Target, Watches};

/// The longest wait in seconds. A client that asks for more gets this.
const WAIT_SECONDS_MAX: u64 = 60;

/// How often a long poll reads its key while changes cannot be followed.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a long poll waits to know whether changes can be followed. After that it reads its key at intervals.
const STATUS_WAIT_MAX: Duration = Duration::from_secs(1);

/// The preference `wait` of the header `Prefer`, in seconds, at most 60.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitPreference(pub(crate) u64);

/// A get that waits. It reads its key again whenever the key may have changed.
pub(crate) struct LongPoll {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    _subscription: Subscription,
    stop: CancellationToken,
    /// When the client gets an answer in any case.
    deadline: Instant,
    /// Whether the rounds notify this long poll of changes. Otherwise it reads its key at intervals.
    is_notified: bool,
}

impl WaitPreference {
    /// The wait that `headers` ask for. If there are several, the first one counts.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all("prefer").iter().filter_map(|field| field.to_str().ok());
        let mut waits = fields.flat_map(|field| field.split(',')).filter_map(wait);
        waits.next().map(|seconds| Self(seconds.min(WAIT_SECONDS_MAX)))
    }

    /// The value of the header `Preference-Applied`.
    pub(crate) fn applied(self) -> String {
        format!("wait={}", self.0)
    }
}

/// The seconds of `preference`. `None`: it is not a wait, or has no whole number.
fn wait(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_wait = name.trim().eq_ignore_ascii_case("wait") && value.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large is a long wait.
    (is_wait && !value.is_empty()).then(|| value.parse().unwrap_or(u64::MAX))
}

impl Watches {
    /// Whether gets may wait. `false` once the drain has begun.
    pub(crate) fn may_wait(&self) -> bool {
        !self.shared.stop.is_cancelled()
    }

    /// A long poll of `key`. It is subscribed at once, so no change after this call is missed.
    ///
    /// # Errors
    /// `overloaded`: there are too many watches.
    pub(crate) fn long_poll(
        &self,
        key: Key,
        WaitPreference(seconds): WaitPreference,
    ) -> Result<LongPoll, Problem> {
        let hub = &self.shared.hub;
        let permit = self.permit()?;
        let subscriber = Arc::new(Subscriber::LongPoll(Notify::new()));
        let subscription = hub.subscribe(Target::Keys([key].into()), &subscriber, permit);
        Ok(LongPoll {
            hub: Arc::clone(hub),
            subscriber,
            _subscription: subscription,
            stop: self.shared.stop.clone(),
            deadline: Instant::now() + Duration::from_secs(seconds),
            is_notified: false,
        })
    }
}

impl LongPoll {
    /// To be called before each read of the key, so that [`LongPoll::changed`] notices what changes after that read. Takes at most a second.
    pub(crate) async fn prepare(&mut self) {
        let status = self.hub.status(self.deadline.min(Instant::now() + STATUS_WAIT_MAX)).await;
        self.is_notified = status == Some(FollowStatus::Following) && self.hub.position().is_some();
    }

    /// Whether the client is answered even if nothing has changed: its time is over, or the process is stopping.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.deadline <= Instant::now()
    }

    /// Waits until the key may have changed, or [`LongPoll::is_over`]. While changes cannot be followed, waits at most for [`INTERVAL`].
    /// Cancel-safe.
    pub(crate) async fn changed(&self) {
        let again =
            if self.is_notified { self.deadline } else { self.deadline.min(Instant::now() + INTERVAL) };
        let changed = async {
            match &*self.subscriber {
                Subscriber::LongPoll(changed) => changed.notified().await,
                Subscriber::Stream(_) => unreachable!("a long poll is no stream"),
            }
        };
        tokio::select! {
            () = changed => {}
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
            assert_eq!(WaitPreference::of(&headers).map(|wait| wait.0), expected, "{field}");
        }
    }
}
