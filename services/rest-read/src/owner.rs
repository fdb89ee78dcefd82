//! Owners: whose share of lists and exports a request uses, and which owner gives way to another one.

use std::net::{IpAddr, Ipv6Addr};

use chassis::access::Caller;
use poem::http::HeaderMap;

/// The header field to which a gateway appends the address of its client.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Whose share a list or an export uses: with tokens that of its token, otherwise that of the address of the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The SHA-256 of the token.
    Token([u8; 32]),
    /// `None` without a connection, as in tests of the routes. Of an IPv6 address only the first 64 bits count: one client
    /// usually has all addresses that begin with them.
    Address(Option<IpAddr>),
}

impl Owner {
    /// The owner of the request of `caller` with these header fields. If `trust_forwarded_for`, the address is the last one in
    /// `X-Forwarded-For`, which the gateway has appended; the ones before it come from the client.
    pub(crate) fn of(caller: &Caller, headers: &HeaderMap, trust_forwarded_for: bool) -> Self {
        if let Some(token) = caller.token() {
            return Self::Token(*token);
        }
        let forwarded = trust_forwarded_for.then(|| forwarded_for(headers)).flatten();
        Self::Address(forwarded.or_else(|| caller.peer().map(|peer| peer.address())).map(network))
    }
}

/// Which owner gives up a place when an owner with `own` places needs one: the owner with the most places. `None` unless it has at least two
/// more than `own`. If several owners have the most, it is the last one of them in `places`.
pub(crate) fn gives_way<'a>(
    places: impl Iterator<Item = (&'a Owner, usize)>,
    own: usize,
) -> Option<&'a Owner> {
    let (owner, most) = places.max_by_key(|(_, count)| *count)?;
    (most >= own + 2).then_some(owner)
}

fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(X_FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// An owner for tests: the address 10.0.0.`last`.
#[cfg(test)]
pub(crate) fn owner(last: u8) -> Owner {
    Owner::Address(Some([10, 0, 0, last].into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_forwarded_address_counts_and_a_network_of_ipv6_is_one_owner() {
        let headers: HeaderMap =
            [("x-forwarded-for", "10.9.9.9"), ("x-forwarded-for", "10.8.8.8, 2001:db8::1:2:3:4")]
                .into_iter()
                .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
                .collect();
        let address = forwarded_for(&headers).map(network);
        assert_eq!(address, Some("2001:db8::".parse().expect("an address")));
        assert_eq!(network("::ffff:10.0.0.1".parse().expect("an address")), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(forwarded_for(&HeaderMap::new()), None);
    }
}
