//! Reads of one key, at once or when it has changed.

use std::sync::Arc;

use chassis::peer::Peer;
use chassis::problem::Problem;
use db::Rev;

use crate::body;
use crate::http::api::Api;
use crate::http::parameters::{IfNoneMatch, KeyText};
use crate::http::reply::{EntryBody, EntryReply, MissingBody, quoted};
use crate::watch::WaitPreference;

impl Api {
    /// Reads one key for the client `peer`. `known` tells whether the client has the revision that is found.
    pub(crate) async fn read(
        &self,
        key: String,
        peer: Option<&Arc<Peer>>,
        known: impl Fn(Rev) -> bool,
    ) -> Result<EntryReply, Problem> {
        let key = KeyText(key).key(self.key_bytes_max)?;
        let mut result = self.gets.get(vec![key]).await?;
        let Some(entry) = result.found.pop().expect("a get of one key has one result") else {
            return Ok(EntryReply::Missing(MissingBody(body::missing(&result.keys[0])), None));
        };
        let rev = entry.rev;
        if known(rev) {
            return Ok(EntryReply::NotModified(quoted(rev), "no-cache".into(), None));
        }
        let json = result.charge.attach(body::entry(&entry), peer);
        Ok(EntryReply::Found(EntryBody { rev, json }, None))
    }

    /// Reads one key, and waits while `if_none_match` names what is found: its revision, or its absence. Answers after the time of `preference`
    /// in any case, and says in the reply that the preference was applied.
    pub(super) async fn read_when_new(
        &self,
        key: String,
        peer: Option<&Arc<Peer>>,
        if_none_match: &IfNoneMatch<'_>,
        preference: WaitPreference,
    ) -> Result<EntryReply, Problem> {
        let known = |rev: Rev| if_none_match.names(rev.to_string().as_bytes());
        let watched = KeyText(key.clone()).key(self.key_bytes_max)?;
        let mut long_poll = self.watches.long_poll(watched, preference)?;
        loop {
            long_poll.prepare().await;
            let reply = self.read(key.clone(), peer, known).await?;
            let is_new = match &reply {
                EntryReply::Found(..) => true,
                EntryReply::NotModified(..) => false,
                EntryReply::Missing(..) => !if_none_match.names_absence(),
            };
            if is_new || long_poll.is_over() {
                return Ok(reply.applied(preference));
            }
            long_poll.changed().await;
        }
    }
}
