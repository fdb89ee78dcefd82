//! The host that a request names, and the rule that keeps rebound names out.
//!
//! DNS rebinding: an attacker makes a name of their own resolve to this machine. For the browser, a page under that name is a page of
//! this service, and its GETs carry no `Origin`. Only the host in the request shows the name.

use std::net::Ipv6Addr;

use http::{HeaderValue, Uri, Version};

use crate::problem::{Code, Problem};

/// The longest host, in bytes. No name of the DNS is longer.
const HOST_BYTES_MAX: usize = 255;

/// Which hosts a request may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostRule {
    /// Any host. Requests need a token, and the page of a rebound name has none.
    Any,
    /// An address, a name without a dot, or one of these names. Nobody else can make an address or a name without a dot, such as
    /// `localhost` or the name of a container, resolve to this machine.
    NoForeignNames(Vec<String>),
}

/// A valid host of a request, without its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host<'a> {
    /// An address or a name without a dot.
    Fixed,
    /// A name with a dot.
    Dotted(&'a [u8]),
}

impl HostRule {
    /// Checks the host and port that a request names. HTTP/1.0 allows a request without a host, and no browser sends one.
    ///
    /// # Errors
    /// `bad_host`: it is not a host and a port. `forbidden`: the rule does not allow this name.
    pub(super) fn check(&self, authority: Option<&[u8]>) -> Result<(), Problem> {
        let Some(authority) = authority else { return Ok(()) };
        let Some(host) = parse(authority) else {
            return Err(Problem::new(Code::BadHost, "the request names no valid host"));
        };
        let listed = match self {
            Self::Any => return Ok(()),
            Self::NoForeignNames(listed) => listed,
        };
        match host {
            Host::Dotted(name) if may_be_rebound(name, listed) => {
                let name = String::from_utf8_lossy(name);
                let message =
                    format!("the host {name} is not served: add it to PUBLIC_HOSTS, or use an address");
                Err(Problem::new(Code::Forbidden, message))
            }
            Host::Dotted(_) | Host::Fixed => Ok(()),
        }
    }
}

/// The `Host` fields of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HostFields<'a> {
    /// The last of them.
    pub(super) last: Option<&'a HeaderValue>,
    pub(super) count: usize,
}

/// The host and port that a request names: those of an absolute target, or else those of `Host`. `None`: an HTTP/1.0 request
/// names none.
///
/// # Errors
/// `bad_host`: `Host` is missing or is there twice.
pub(super) fn authority<'a>(
    uri: &'a Uri,
    version: Version,
    fields: HostFields<'a>,
) -> Result<Option<&'a [u8]>, Problem> {
    let refuse = |message| Err(Problem::new(Code::BadHost, message));
    if fields.count > 1 {
        return refuse("the request has more than one Host");
    }
    if fields.count == 0 && version != Version::HTTP_10 {
        return refuse("the request has no Host");
    }
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    Ok(target.or(fields.last.map(HeaderValue::as_bytes)))
}

/// The kinds of bytes in a name. One bit for each, so that the kinds of many bytes are one number.
const DIGIT: u8 = 1;
const DOT: u8 = 2;
const LETTER: u8 = 4;
/// The byte is not part of a name.
const END: u8 = 8;

/// The kind of each byte. Every get comes here, and a table takes half the instructions of comparisons.
const KINDS: [u8; 256] = {
    let mut kinds = [END; 256];
    let mut byte = 0u8;
    while byte.is_ascii() {
        kinds[byte as usize] = match byte {
            b'0'..=b'9' => DIGIT,
            b'.' => DOT,
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => LETTER,
            _ => END,
        };
        byte += 1;
    }
    kinds
};

/// The host of `authority`, or `None` if it is no host, perhaps with a port.
fn parse(authority: &[u8]) -> Option<Host<'_>> {
    let (mut kinds, mut end) = (0, 0);
    for byte in authority {
        let kind = KINDS[usize::from(*byte)];
        if kind == END {
            break;
        }
        kinds |= kind;
        end += 1;
    }
    let (name, port) = authority.split_at(end);
    if name.is_empty() {
        return ipv6(authority);
    }
    if name.len() > HOST_BYTES_MAX || !is_port(port) {
        return None;
    }
    // Digits and dots are an IPv4 address, or no host at all: no name of the DNS ends with a number.
    let is_dotted = kinds & DOT != 0 && (kinds & LETTER != 0 || kinds & DIGIT == 0);
    Some(if is_dotted { Host::Dotted(name) } else { Host::Fixed })
}

fn ipv6(authority: &[u8]) -> Option<Host<'_>> {
    let text = str::from_utf8(authority).ok()?;
    let (address, port) = text.strip_prefix('[')?.split_once(']')?;
    // After a percent sign comes the network of a link-local address. Some clients send it.
    let address = address.split_once('%').map_or(address, |(address, _)| address);
    (address.parse::<Ipv6Addr>().is_ok() && is_port(port.as_bytes())).then_some(Host::Fixed)
}

/// Whether `text` is nothing, or a port after its colon. The port itself may be left out.
fn is_port(text: &[u8]) -> bool {
    let Some((b':', digits)) = text.split_first() else { return text.is_empty() };
    if digits.len() > 5 {
        return false;
    }
    let mut port = 0u32;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return false;
        }
        port = port * 10 + u32::from(byte - b'0');
    }
    u16::try_from(port).is_ok()
}

/// Whether somebody else could make `name` resolve to this machine.
fn may_be_rebound(name: &[u8], listed: &[String]) -> bool {
    let is_listed = |listed: &String| complete(listed.as_bytes()).eq_ignore_ascii_case(complete(name));
    // Other spellings of an IPv4 address, such as 0x7f.1: browsers read them as an address and ask no DNS.
    let is_address =
        || str::from_utf8(name).is_ok_and(|name| matches!(url::Host::parse(name), Ok(url::Host::Ipv4(_))));
    !listed.iter().any(is_listed) && !is_address()
}

/// `name` without the dot at its end, which says that the name is complete. It remains the same name.
fn complete(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests;
