//! The fast path: plain gets of one key, answered without the framework.

use chassis::access::Caller;
use chassis::edge::fast_path::FastPath;
use chassis::problem::Problem;
use percent_encoding::percent_decode_str;
use poem::http::{HeaderMap, header};
use poem::{IntoResponse, Response};

use crate::http::api::{Api, ENTRY};

/// Answers `GET /storage/{key}` without `If-None-Match`.
pub(crate) struct EntryFastPath(pub(crate) Api);

impl FastPath for EntryFastPath {
    const ROUTE: &'static str = ENTRY;

    fn answer<'a>(
        &'a self,
        path: &str,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Option<impl Future<Output = Response> + Send + use<'a>> {
        if headers.contains_key(header::IF_NONE_MATCH) {
            return None;
        }
        let key = key(path)?;
        caller.may_read(&key).ok()?;
        let peer = caller.peer().cloned();
        Some(async move {
            let reply = self.0.read(key, peer.as_ref(), |_| false).await;
            reply.map_or_else(Problem::into_response, IntoResponse::into_response)
        })
    }
}

/// The key in `path`, if the path matches [`ENTRY`] and the key is UTF-8.
pub(crate) fn key(path: &str) -> Option<String> {
    let key = path.strip_prefix("/storage/").filter(|key| !key.is_empty() && !key.contains('/'))?;
    Some(percent_decode_str(key).decode_utf8().ok()?.into_owned())
}
