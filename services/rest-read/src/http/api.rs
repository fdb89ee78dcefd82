//! The operations of the read side. The `OpenAPI` specification is generated from them.

mod entry;

use std::sync::Arc;

use bytes::Bytes;
use chassis::access::Caller;
use chassis::peer::Peer;
use chassis::problem::{Code, Problem};
use db::{Range, Rev};
use poem::Request;
use poem::http::Version;
use poem_openapi::param::Path;
use poem_openapi::{OpenApi, OpenApiService, Tags};

use crate::body;
use crate::export::Exports;
use crate::gets::Gets;
use crate::http::bearer::Bearer;
use crate::http::parameters::{
    After, IfNoneMatch, KeyText, KeyTexts, LastEventId, Limit, Once, Prefer, Prefix, Values, WatchAfter,
    WithSnapshot, only,
};
use crate::http::reply::{
    EntriesBody, EntriesReply, EntryReply, ExportBody, ExportReply, ProblemReply, WatchBody, WatchReply,
};
use crate::lists::{Lists, PageQuery};
use crate::owner::Owner;
use crate::watch::{Target, WatchQuery, Watches};

const DESCRIPTION: &str = "\
Reads what was written over the WebSocket at `/ws/storage/`, where each text message like \
`{\"key\":\"hello\",\"value\":\"world\"}` is one write. A GET that starts after the reply to a write has arrived returns that \
write or a later one.

Keys and values are exact UTF-8, byte for byte. HEAD is answered like GET, without the body. Any other method is a 405 \
with `Allow`. Every error is `{\"message\":…,\"status\":…,\"code\":…}`; programs should rely on `code`.";

/// The pattern of the path of one key in telemetry. The specification generator would name its parameter `param0`.
pub(crate) const ENTRY: &str = "/storage/{key}";

/// The operations over the gets, lists and exports of a process.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) gets: Gets,
    pub(crate) lists: Lists,
    pub(crate) exports: Exports,
    pub(crate) watches: Watches,
    pub(crate) key_bytes_max: usize,
    /// Whether the address of a client is the one that a gateway has put into `X-Forwarded-For`.
    pub(crate) trust_forwarded_for: bool,
}

impl Api {
    /// Whose share of lists and exports `request` uses.
    fn owner(&self, caller: &Caller, request: &Request) -> Owner {
        Owner::of(caller, request.headers(), self.trust_forwarded_for)
    }

    async fn read_all(&self, keys: KeyTexts, peer: Option<&Arc<Peer>>) -> Result<Bytes, Problem> {
        let result = self.gets.get(keys.keys(self.key_bytes_max)?).await?;
        assert_eq!(result.found.len(), result.keys.len(), "a get has one result for each key");
        let missing = result.keys.iter().zip(&result.found).filter(|(_, found)| found.is_none());
        let json = body::entries(result.found.iter().flatten(), missing.map(|(key, _)| key)).await;
        Ok(result.charge.attach(json, peer))
    }
}

/// Groups of operations. Generated clients name their classes or modules after them.
#[derive(Tags)]
enum Group {
    /// Entries that were written over the WebSocket
    Read,
}

#[OpenApi(tag = "Group::Read")]
impl Api {
    /// Read one key
    #[oai(path = "/storage/:key", method = "get", operation_id = "getEntry")]
    async fn entry(
        &self,
        Bearer(caller): Bearer,
        /// The key, percent-encoded: 1 to 512 bytes of UTF-8. `a/b` is `a%2Fb`
        key: Path<KeyText>,
        /// Revisions that the client has: a list of entity tags, or `*`
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<'_>,
        /// `wait=N` with `If-None-Match`: answer when no tag matches any more, or after N seconds (at most 60). `"0"` matches while
        /// the key has no value
        #[oai(name = "Prefer")]
        prefer: Prefer,
    ) -> Result<EntryReply, ProblemReply> {
        let Path(KeyText(key)) = key;
        caller.may_read(&key)?;
        if let Prefer(Some(preference)) = prefer
            && if_none_match.is_given()
            && self.watches.may_wait()
        {
            return Ok(self.read_when_new(key, caller.peer(), &if_none_match, preference).await?);
        }
        let known = |rev: Rev| if_none_match.names(rev.to_string().as_bytes());
        Ok(self.read(key, caller.peer(), known).await?)
    }

    /// Read one key, without the body
    #[oai(path = "/storage/:key", method = "head", operation_id = "headEntry")]
    async fn entry_head(
        &self,
        Bearer(caller): Bearer,
        /// The key, percent-encoded: 1 to 512 bytes of UTF-8
        key: Path<KeyText>,
        /// Revisions that the client has: a list of entity tags, or `*`
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<'_>,
        /// As for GET
        #[oai(name = "Prefer")]
        prefer: Prefer,
    ) -> Result<EntryReply, ProblemReply> {
        self.entry(Bearer(caller), key, if_none_match, prefer).await
    }

    /// Read several keys, or list keys
    ///
    /// With `key`: reads all these keys by one SELECT. A repeated key counts once. Use this also for keys that URL parsers change
    /// in a path, such as `.` and `..`.
    ///
    /// Without `key`: lists the keys that begin with `prefix` in byte order, page by page. Each page shows the store as it was at
    /// one instant. With `values=false` the items have no `value`, and no page ends for the size of values. A page ends at `limit`
    /// items, before an item that would take its values past 4 MiB, or after 10,000 rows, including deleted and expired ones. So it
    /// may hold fewer items than `limit`, even none. To read the whole list, send `next` as `after` of the next request until
    /// `next` is null. A page ends before a damaged row. A page that would begin with one is a 500 that names the `after` with
    /// which the list continues after the row.
    #[expect(clippy::too_many_arguments, reason = "each parameter of the request is an argument")]
    #[oai(path = "/storage", method = "get", operation_id = "getEntries")]
    async fn entries(
        &self,
        Bearer(caller): Bearer,
        request: &Request,
        /// 1 to 100 distinct keys, each in its own parameter. Cannot be combined with the other parameters
        key: KeyTexts,
        /// Lists the keys that begin with this prefix. Default: all keys
        prefix: Once<Prefix>,
        /// The most items of a page. Default: 100
        limit: Once<Limit>,
        /// Continues a list: the `next` of the previous page, which had the same prefix
        after: Once<After>,
        /// `false` leaves the values of a list out, which is faster. Default: `true`
        values: Once<Values>,
    ) -> Result<EntriesReply, ProblemReply> {
        only(request, &["key", "prefix", "limit", "after", "values"])?;
        if key.is_empty() {
            let Prefix(prefix) = prefix.0.unwrap_or_default();
            caller.may_read(&prefix)?;
            let range = Range::new(prefix);
            let range = after.0.map_or(Ok(range.clone()), |after| after.range(range))?;
            let Limit(items_max) = limit.0.unwrap_or_default();
            let Values(with_values) = values.0.unwrap_or_default();
            let owner = self.owner(&caller, request);
            let query = PageQuery { range, items_max, with_values };
            let page = self.lists.page(query, &owner, caller.peer()).await;
            return Ok(EntriesReply::Found(EntriesBody(page.map_err(Problem::from)?)));
        }
        if prefix.0.is_some() || limit.0.is_some() || after.0.is_some() || values.0.is_some() {
            let message =
                "key cannot be combined with prefix, limit, after or values: ask for keys or for a list";
            return Err(Problem::new(Code::BadParameter, message).into());
        }
        key.iter().try_for_each(|key| caller.may_read(key))?;
        // The first key was charged when the request was admitted.
        caller.spend(key.iter().count() - 1)?;
        Ok(EntriesReply::Found(EntriesBody(self.read_all(key, caller.peer()).await?)))
    }

    /// Export entries
    ///
    /// Returns all entries whose keys begin with `prefix`, in byte order, as the store was at one instant. Each line is a write
    /// message for the WebSocket, with `expires_at` if the entry expires. The body has no Content-Length. An export that fails breaks
    /// the body off, so a body without its last chunk is incomplete. A client that reads nothing for 10 s is disconnected. If all
    /// permits for exports are in use, a token (without tokens: an address) with at least two exports fewer than another one may still
    /// begin: the newest export of the one with the most exports is ended. If none has two more, a token or address without an export
    /// may still begin: the oldest export whose client read less than 64 KiB/s for 10 s is ended. Otherwise the answer is 503.
    #[oai(path = "/export", method = "get", operation_id = "export")]
    async fn export(
        &self,
        Bearer(caller): Bearer,
        request: &Request,
        /// Exports the keys that begin with this prefix. Default: all keys
        prefix: Once<Prefix>,
    ) -> Result<ExportReply, ProblemReply> {
        only(request, &["prefix"])?;
        let Prefix(prefix) = prefix.0.unwrap_or_default();
        caller.may_read(&prefix)?;
        // HTTP/1.0 has no chunks: only a reset tells the client that the body is incomplete.
        let reset_on_failure = caller.peer().filter(|_| request.version() < Version::HTTP_11).cloned();
        let owner = self.owner(&caller, request);
        let stream = self.exports.start(prefix, owner, reset_on_failure).await.map_err(Problem::from)?;
        Ok(ExportReply::Begun(ExportBody(stream)))
    }

    /// Watch keys
    ///
    /// A stream of server-sent events that does not end: what is there (`put`, then `ready`), and from then on every change, as `put` or
    /// `delete`. The events `ready` and `progress` have an `id`, the cursor: everything up to it was sent. When a stream ends, the client
    /// connects again with its last cursor, in `Last-Event-ID` or `after`, to any replica, and gets what has changed since. A cursor that
    /// cannot be used is no error: the stream sends `reset`, and then what is there. All events of an atomic batch come between two ids.
    /// States in between may be left out. `/watch/asyncapi.yaml` describes the events.
    #[expect(clippy::too_many_arguments, reason = "each parameter of the request is an argument")]
    #[oai(path = "/watch", method = "get", operation_id = "watch")]
    async fn watch(
        &self,
        Bearer(caller): Bearer,
        request: &Request,
        /// 1 to 100 distinct keys, each in its own parameter. Cannot be combined with `prefix`. The path and the query together may have 16 KiB at most
        key: KeyTexts,
        /// Watches the keys that begin with this prefix. Default: all keys
        prefix: Once<Prefix>,
        /// `false` leaves the values out. Default: `true`
        values: Once<Values>,
        /// `false` begins with `ready`, without what is there. Default: `true`
        snapshot: Once<WithSnapshot>,
        /// The cursor to resume from: the last `id` of an earlier stream of the same keys or prefix. Empty: none
        after: Once<WatchAfter>,
        /// The cursor to resume from, as `EventSource` sends it. If `after` is given too, this header counts
        #[oai(name = "Last-Event-ID")]
        last_event_id: LastEventId,
    ) -> Result<WatchReply, ProblemReply> {
        only(request, &["key", "prefix", "values", "snapshot", "after"])?;
        let target = if key.is_empty() {
            let Prefix(prefix) = prefix.0.unwrap_or_default();
            caller.may_read(&prefix)?;
            Target::Prefix(prefix)
        } else {
            if prefix.0.is_some() {
                let message = "key cannot be combined with prefix: watch keys or a prefix";
                return Err(Problem::new(Code::BadParameter, message).into());
            }
            key.iter().try_for_each(|key| caller.may_read(key))?;
            // The first key was charged when the request was admitted.
            caller.spend(key.iter().count() - 1)?;
            Target::Keys(key.keys(self.key_bytes_max)?.into_iter().collect())
        };
        let Values(with_values) = values.0.unwrap_or_default();
        let WithSnapshot(with_snapshot) = snapshot.0.unwrap_or_default();
        let WatchAfter(after) = after.0.unwrap_or_default();
        let LastEventId(last) = last_event_id;
        let cursor = if last.is_empty() { after } else { last };
        let query = WatchQuery { target, with_values, with_snapshot, cursor };
        match self.watches.stream(query, caller.peer()).await {
            Ok(stream) => Ok(WatchReply::Begun(WatchBody(stream))),
            Err(problem) if problem.code == Code::WatchOff => Ok(WatchReply::Off(problem.into())),
            Err(problem) => Err(problem.into()),
        }
    }
}

/// The API as a service, with its specification.
pub(crate) fn service(api: Api) -> OpenApiService<Api, ()> {
    OpenApiService::new(api, "Keywire, the read side", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .server("/")
}
