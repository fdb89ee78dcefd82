//! The operations of the read side, and the specification that is made of them.

use chassis::problem::Problem;
use db::Rev;
use poem_openapi::param::Path;
use poem_openapi::{OpenApi, OpenApiService};

use crate::body;
use crate::lookup::Lookup;
use crate::parameters::{IfNoneMatch, KeyText, KeyTexts};
use crate::problem::LookupError;
use crate::reply::{EntriesBody, EntriesReply, EntryBody, EntryReply, MissingBody, Refused, quoted};

const DESCRIPTION: &str = "\
Reads what was written over the WebSocket at `/ws/storage/`: one text message `{\"key\":\"hello\",\"value\":\"world\"}` \
is one write. A GET that starts after the reply to a write arrived sees that write or a later one.

Keys and values are exact UTF-8, byte for byte. HEAD is answered like GET, without the body. Every error is \
`{\"message\":…,\"status\":…,\"code\":…}`; programs go by `code`.";

/// The read side's operations.
pub(crate) struct Api {
    pub(crate) lookup: Lookup,
    pub(crate) key_bytes_max: usize,
}

impl Api {
    /// Reads one key; `known` says whether the client has the revision that is found.
    pub(crate) async fn read(
        &self,
        key: KeyText,
        known: impl Fn(Rev) -> bool,
    ) -> Result<EntryReply, Problem> {
        let key = key.key(self.key_bytes_max)?;
        let mut answer = self.lookup.get(vec![key]).await?;
        let Some(found) = answer.found.pop().flatten() else {
            let [key] = answer.keys.as_slice() else { return Err(LookupError::Internal.into()) };
            return Ok(EntryReply::Missing(MissingBody(body::missing(key))));
        };
        let rev = found.entry.rev;
        if known(rev) {
            return Ok(EntryReply::NotModified(quoted(rev), "no-cache".into()));
        }
        let json = found.charge.attach(body::entry(&found.entry));
        Ok(EntryReply::Found(EntryBody { rev, json }))
    }
}

#[OpenApi]
impl Api {
    /// Read one key
    #[oai(path = "/storage/:key", method = "get", operation_id = "getEntry")]
    async fn entry(
        &self,
        /// The key, percent-encoded: 1 to 512 bytes of UTF-8. `a/b` is `a%2Fb`
        key: Path<KeyText>,
        /// Revisions the client has: a list of entity tags, or `*`
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<'_>,
    ) -> Result<EntryReply, Refused> {
        let known = |rev: Rev| if_none_match.names(rev.to_string().as_bytes());
        Ok(self.read(key.0, known).await?)
    }

    /// Read several keys
    ///
    /// All of them by one SELECT. A key asked twice counts once. This is also the way to keys that URL parsers
    /// mangle in a path, such as `.` and `..`.
    #[oai(path = "/storage", method = "get", operation_id = "getEntries")]
    async fn entries(
        &self,
        /// The keys, 1 to 100 distinct ones, each as a parameter of its own
        key: KeyTexts,
    ) -> Result<EntriesReply, Refused> {
        let keys = key.keys(self.key_bytes_max)?;
        let answer = self.lookup.get(keys).await?;
        let missing = answer.keys.iter().zip(&answer.found).filter(|(_, found)| found.is_none());
        let found = answer.found.iter().flatten().map(|found| &found.entry);
        let json = body::entries(found, missing.map(|(key, _)| key));
        // The values are copied: from here on the body alone counts.
        let charges = answer.found.into_iter().flatten().map(|found| found.charge);
        Ok(EntriesReply::Found(EntriesBody(match charges.reduce(crate::backlog::Charge::join) {
            Some(charge) => charge.attach(json),
            None => json.into(),
        })))
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
