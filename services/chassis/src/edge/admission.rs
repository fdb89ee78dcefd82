//! Admission: the decision about a request that its head alone allows, before it is routed.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::percent_decode_str;

use super::origin::OriginRule;
use crate::problem::{Code, Problem};

/// The longest request target, in bytes.
pub const URI_BYTES_MAX: usize = 16 * 1024;
/// The largest sum of the lengths of all header names and values of a request, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How an admitted request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// By the fast path or by the framework, with the same response: a GET without query and `Origin`. Its path is not checked
    /// yet: the fast path decodes it anyway, and before the framework gets it, [`check_path`] must be called.
    Plain,
    /// By the framework only.
    Other,
}

/// Admits a request with this head, or refuses it. Pure.
///
/// # Errors
/// The problem to answer: the service is stopping, the head is over a limit or not UTF-8, or a page of an origin that is not
/// allowed sent the request.
pub(super) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_stopping: bool,
    rule: &OriginRule,
) -> Result<Admitted, Problem> {
    let refuse = |code, message: &str| Err(Problem::new(code, message));
    if is_stopping {
        return refuse(Code::Stopping, "the service is stopping");
    }
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    if target > URI_BYTES_MAX {
        let message = format!("the request target has {target} bytes, at most {URI_BYTES_MAX} are allowed");
        return Err(Problem::new(Code::UriTooLong, message));
    }
    if header_bytes(headers) > HEADER_BYTES_MAX {
        let message = format!("the header fields have more than {HEADER_BYTES_MAX} bytes");
        return Err(Problem::new(Code::HeadersTooLarge, message));
    }
    if !uri.path().starts_with('/') {
        // CONNECT and `OPTIONS *` name no path; the router cannot take them.
        return refuse(Code::BadMethod, "this method is not supported");
    }
    let origin = headers.get(header::ORIGIN);
    if method == Method::GET && uri.query().is_none() && origin.is_none() {
        return Ok(Admitted::Plain);
    }
    check_path(uri)?;
    if !uri.query().is_none_or(is_utf8) {
        return refuse(Code::BadParameter, "the query is not valid UTF-8");
    }
    // A value that is not text counts as empty text, which no rule allows.
    let text = |value: &'_ HeaderValue| value.to_str().unwrap_or_default().to_owned();
    if let Some(origin) = origin.map(text) {
        let host = headers.get(header::HOST).map(text);
        rule.check(Some(&origin), host.as_deref())?;
    }
    Ok(Admitted::Other)
}

/// Checks that the path is UTF-8 once it is percent-decoded.
///
/// # Errors
/// `bad_path`.
pub(super) fn check_path(uri: &Uri) -> Result<(), Problem> {
    if is_utf8(uri.path()) { Ok(()) } else { Err(Problem::new(Code::BadPath, "the path is not valid UTF-8")) }
}

/// Whether `text` is UTF-8 once it is percent-decoded. Without percent signs it is: hyper has checked it.
fn is_utf8(text: &str) -> bool {
    !text.contains('%') || percent_decode_str(text).decode_utf8().is_ok()
}

fn header_bytes(headers: &HeaderMap) -> usize {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(bytes).sum()
}
