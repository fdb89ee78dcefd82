//! The operations of the read side, and the specification that is made of them.

use std::sync::Arc;

use bytes::Bytes;
use chassis::peer::Peer;
use chassis::problem::{Code, Problem};
use db::{Range, Rev};
use poem::Request;
use poem::http::Version;
use poem_openapi::param::Path;
use poem_openapi::{OpenApi, OpenApiService};

use crate::body;
use crate::error::LookupError;
use crate::export::Exports;
use crate::gets::Lookup;
use crate::http::bearer::Bearer;
use crate::http::parameters::once::{After, Limit, Once, Prefix, only};
use crate::http::parameters::{IfNoneMatch, KeyText, KeyTexts};
use crate::http::reply::{
    EntriesBody, EntriesReply, EntryBody, EntryReply, ExportBody, ExportReply, MissingBody, Refused, quoted,
};
use crate::lists::Lists;
use crate::lists::page::ITEMS_DEFAULT;

const DESCRIPTION: &str = "\
Reads what was written over the WebSocket at `/ws/storage/`: one text message `{\"key\":\"hello\",\"value\":\"world\"}` \
is one write. A GET that starts after the reply to a write arrived sees that write or a later one.

Keys and values are exact UTF-8, byte for byte. HEAD is answered like GET, without the body; any other method is a 405 \
with `Allow`. Every error is \
`{\"message\":…,\"status\":…,\"code\":…}`; programs go by `code`.";

/// The read side's operations.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) lookup: Lookup,
    pub(crate) lists: Lists,
    pub(crate) exports: Exports,
    pub(crate) key_bytes_max: usize,
}

impl Api {
    /// Reads one key for the client `peer`; `known` says whether it has the revision that is found.
    pub(crate) async fn read(
        &self,
        key: KeyText,
        peer: Option<&Arc<Peer>>,
        known: impl Fn(Rev) -> bool,
    ) -> Result<EntryReply, Problem> {
        let key = key.key(self.key_bytes_max)?;
        let mut answer = self.lookup.get(vec![key]).await?;
        let Some(entry) = answer.found.pop().expect("a get of one key has one place") else {
            return Ok(EntryReply::Missing(MissingBody(body::missing(&answer.keys[0]))));
        };
        let rev = entry.rev;
        if known(rev) {
            return Ok(EntryReply::NotModified(quoted(rev), "no-cache".into()));
        }
        let json = answer.charge.attach(body::entry(&entry), peer);
        Ok(EntryReply::Found(EntryBody { rev, json }))
    }

    async fn read_all(&self, keys: KeyTexts, peer: Option<&Arc<Peer>>) -> Result<Bytes, Problem> {
        let answer = self.lookup.get(keys.keys(self.key_bytes_max)?).await?;
        assert_eq!(answer.found.len(), answer.keys.len(), "every key has its place in the answer");
        let missing = answer.keys.iter().zip(&answer.found).filter(|(_, found)| found.is_none());
        let json = body::entries(answer.found.iter().flatten(), missing.map(|(key, _)| key));
        Ok(answer.charge.attach(json, peer))
    }
}

#[OpenApi]
impl Api {
    /// Read one key
    #[oai(path = "/storage/:key", method = "get", operation_id = "getEntry")]
    async fn entry(
        &self,
        Bearer(caller): Bearer,
        /// The key, percent-encoded: 1 to 512 bytes of UTF-8. `a/b` is `a%2Fb`
        key: Path<KeyText>,
        /// Revisions the client has: a list of entity tags, or `*`
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<'_>,
    ) -> Result<EntryReply, Refused> {
        caller.may_read(key.0.as_str())?;
        let known = |rev: Rev| if_none_match.names(rev.to_string().as_bytes());
        Ok(self.read(key.0, caller.peer(), known).await?)
    }

    /// What reading one key would bring, without its body
    #[oai(path = "/storage/:key", method = "head", operation_id = "headEntry")]
    async fn entry_head(
        &self,
        Bearer(caller): Bearer,
        /// The key, percent-encoded: 1 to 512 bytes of UTF-8
        key: Path<KeyText>,
        /// Revisions the client has: a list of entity tags, or `*`
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<'_>,
    ) -> Result<EntryReply, Refused> {
        self.entry(Bearer(caller), key, if_none_match).await
    }

    /// Read several keys, or list them
    ///
    /// With `key`: all of these keys by one SELECT. A key asked twice counts once. This is also the way to keys that URL
    /// parsers mangle in a path, such as `.` and `..`.
    ///
    /// Without `key`: the keys that begin with `prefix`, in byte order, a page at a time, each page as the store was at one
    /// instant. A page ends at `limit`, before an item that would take its values past 4 MiB, or after 10,000 rows, deleted
    /// and expired ones included: it may hold fewer items than `limit`, even none. The list goes on with `next` as `after`
    /// until `next` is null.
    #[oai(path = "/storage", method = "get", operation_id = "getEntries")]
    async fn entries(
        &self,
        Bearer(caller): Bearer,
        request: &Request,
        /// The keys, 1 to 100 distinct ones, each as a parameter of its own; then without `prefix`, `limit` and `after`
        key: KeyTexts,
        /// What the keys of the list begin with; all keys if not given
        prefix: Once<Prefix>,
        /// The most items of the page
        limit: Once<Limit>,
        /// Where the list goes on: `next` of the page before, which had the same prefix
        after: Once<After>,
    ) -> Result<EntriesReply, Refused> {
        only(request, &["key", "prefix", "limit", "after"])?;
        if key.is_empty() {
            let prefix = prefix.0.map_or_else(String::new, |Prefix(prefix)| prefix);
            caller.may_read(&prefix)?;
            let range = Range::new(prefix);
            let range = after.0.map_or(Ok(range.clone()), |after| after.range(range))?;
            let items_max = limit.0.map_or(ITEMS_DEFAULT, |Limit(items)| items);
            return Ok(EntriesReply::Found(EntriesBody(
                self.lists.page(range, items_max, caller.peer()).await?,
            )));
        }
        if prefix.0.is_some() || limit.0.is_some() || after.0.is_some() {
            let message = "key goes without prefix, limit and after: ask for keys or for a list";
            return Err(Problem::new(Code::BadParameter, message).into());
        }
        key.iter().try_for_each(|key| caller.may_read(key))?;
        caller.spend(key.iter().count() - 1)?;
        Ok(EntriesReply::Found(EntriesBody(self.read_all(key, caller.peer()).await?)))
    }

    /// Export
    ///
    /// All keys that begin with `prefix`, in byte order, as the store was at one instant: one write a line, as it can be sent
    /// over the WebSocket, with `expires_at` where there is one. The body has no length. If it cannot be completed it is
    /// broken off: without the last chunk it is incomplete. A client that takes nothing for 10 s is given up.
    #[oai(path = "/export", method = "get", operation_id = "export")]
    async fn export(
        &self,
        Bearer(caller): Bearer,
        request: &Request,
        /// What the keys begin with; all keys if not given
        prefix: Once<Prefix>,
    ) -> Result<ExportReply, Refused> {
        only(request, &["prefix"])?;
        let prefix = prefix.0.map_or_else(String::new, |Prefix(prefix)| prefix);
        caller.may_read(&prefix)?;
        // Before 1.1 there are no chunks.
        let only_breaks = caller.peer().filter(|_| request.version() < Version::HTTP_11).cloned();
        Ok(ExportReply::Begun(ExportBody(self.exports.start(prefix, only_breaks).await?)))
    }
}

impl From<LookupError> for Refused {
    fn from(error: LookupError) -> Self {
        Problem::from(error).into()
    }
}

/// The API as a service that knows its specification.
pub(crate) fn service(api: Api) -> OpenApiService<Api, ()> {
    OpenApiService::new(api, "Keywire, the read side", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .server("/")
}
