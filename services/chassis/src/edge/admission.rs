//! Admission: the decision about a request that its head alone allows, before it is routed.

use http::{HeaderMap, Method, Uri, Version, header};
use percent_encoding::percent_decode_str;

use super::host::{HostFields, HostRule, authority};
use super::origin::OriginRule;
use crate::problem::{Code, Problem};

/// The longest request target, in bytes.
pub const URI_BYTES_MAX: usize = 16 * 1024;
/// The largest sum of the lengths of all header names and values of a request, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How an admitted request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted<'a> {
    /// By the fast path or by the framework, with the same response: a GET without query and `Origin`. Its path is not checked
    /// yet: the fast path decodes it anyway, and before the framework gets it, [`check_path`] must be called.
    Plain,
    /// By the framework only. The origin of the request is not checked yet: [`check_origin`] must be called.
    Other {
        /// The host and port that the request names.
        host: Option<&'a [u8]>,
    },
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
}

/// Admits a request with this head, or refuses it. Pure.
///
/// # Errors
/// The problem to answer: the service is stopping, the head is over a limit or not UTF-8, or the request names a host that is not
/// allowed.
pub(super) fn admit<'a>(
    head: Head<'a>,
    is_stopping: bool,
    hosts: &HostRule,
) -> Result<Admitted<'a>, Problem> {
    let Head { method, uri, version, headers } = head;
    let refuse = |code, message: &str| Err(Problem::new(code, message));
    if is_stopping {
        return refuse(Code::Stopping, "the service is stopping");
    }
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    if target > URI_BYTES_MAX {
        let message = format!("the request target has {target} bytes, at most {URI_BYTES_MAX} are allowed");
        return Err(Problem::new(Code::UriTooLong, message));
    }
    let (bytes, hosts_named) = survey(headers);
    if bytes > HEADER_BYTES_MAX {
        let message = format!("the header fields have more than {HEADER_BYTES_MAX} bytes");
        return Err(Problem::new(Code::HeadersTooLarge, message));
    }
    let host = authority(uri, version, hosts_named)?;
    hosts.check(host)?;
    if !uri.path().starts_with('/') {
        // CONNECT and `OPTIONS *` name no path; the router cannot take them.
        return refuse(Code::BadMethod, "this method is not supported");
    }
    if method == Method::GET && uri.query().is_none() && !headers.contains_key(header::ORIGIN) {
        return Ok(Admitted::Plain);
    }
    check_path(uri)?;
    if !uri.query().is_none_or(is_utf8) {
        return refuse(Code::BadParameter, "the query is not valid UTF-8");
    }
    Ok(Admitted::Other { host })
}

/// Checks the header `Origin` of a request that names `host`. A request without this header comes from no page of another origin.
///
/// # Errors
/// `forbidden`.
pub(super) fn check_origin(
    headers: &HeaderMap,
    host: Option<&[u8]>,
    rule: &OriginRule,
) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = host.and_then(|host| str::from_utf8(host).ok());
    rule.check(&String::from_utf8_lossy(origin.as_bytes()), host)
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

/// The bytes of all header names and values, and the `Host` fields, in one pass: a get pays for each.
fn survey(headers: &HeaderMap) -> (usize, HostFields<'_>) {
    let (mut bytes, mut hosts) = (0, HostFields::default());
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len();
        if name == header::HOST {
            hosts = HostFields { last: Some(value), count: hosts.count + 1 };
        }
    }
    (bytes, hosts)
}
