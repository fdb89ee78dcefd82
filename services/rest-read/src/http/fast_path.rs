//! The fast path: plain gets of one key, answered without the framework.

use chassis::access::Caller;
use chassis::edge::fast_path::FastPath;
use chassis::problem::Problem;
use percent_encoding::percent_decode_str;
use poem::http::{HeaderMap, header};
use poem::{IntoResponse, Response};

use crate::http::api::Api;
use crate::http::parameters::KeyText;

/// The route of one key as telemetry names it. The specification generator calls its parameter `param0`.
pub(crate) const ENTRY: &str = "/storage/{key}";

/// Answers `GET /storage/{key}` without `If-None-Match`.
pub(crate) struct Entries(pub(crate) Api);

impl FastPath for Entries {
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
            let read = self.0.read(KeyText(key), peer.as_ref(), |_| false).await;
            read.map_or_else(Problem::into_response, IntoResponse::into_response)
        })
    }
}

/// The key that a path names, if it is one of [`ENTRY`] and the key is UTF-8.
pub(crate) fn key(path: &str) -> Option<String> {
    let key = path.strip_prefix("/storage/").filter(|key| !key.is_empty() && !key.contains('/'))?;
    Some(percent_decode_str(key).decode_utf8().ok()?.into_owned())
}
