//! Permits for exports: one limit for all of them, shared fairly among their owners.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::access::Caller;
use poem::http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The header field to which a gateway appends the address of its client.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Whose share of the permits an export uses: with tokens that of its token, otherwise that of the address of the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ExportOwner {
    /// The SHA-256 of the token.
    Token([u8; 32]),
    /// `None` without a connection, as in tests of the routes. Of an IPv6 address only the first 64 bits count: one client has
    /// all addresses behind them.
    Address(Option<IpAddr>),
}

impl ExportOwner {
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

/// The permits of a process. If none is free, an owner with at least two running exports fewer than another one displaces the newest
/// export of the owner that has the most.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    all: usize,
    exports: Arc<Mutex<Vec<RunningExport>>>,
}

#[derive(Debug)]
struct RunningExport {
    owner: ExportOwner,
    displaced: CancellationToken,
}

/// The permit of one export. Dropping it gives the permit back.
#[derive(Debug)]
pub(crate) struct Permit {
    entry: PermitEntry,
    _permit: OwnedSemaphorePermit,
}

/// The entry of an export among the running ones. Dropping it removes it.
#[derive(Debug)]
struct PermitEntry {
    displaced: CancellationToken,
    exports: Arc<Mutex<Vec<RunningExport>>>,
}

impl Permits {
    pub(crate) fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all, exports: Arc::default() }
    }

    /// The number of permits in use.
    pub(crate) fn used(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// A permit for an export of `owner`; waits for the end of the export that it displaces, if any. `None`: all permits are in
    /// use, and `owner` has its share.
    pub(crate) async fn acquire(&self, owner: ExportOwner) -> Option<Permit> {
        let free = Arc::clone(&self.free);
        let (entry, permit) = {
            let mut exports = lock(&self.exports);
            let permit = Arc::clone(&free).try_acquire_owned().ok();
            if permit.is_none() {
                displace(&mut exports, &owner)?;
            }
            let displaced = CancellationToken::new();
            exports.push(RunningExport { owner, displaced: displaced.clone() });
            (PermitEntry { displaced, exports: Arc::clone(&self.exports) }, permit)
        };
        let permit = match permit {
            Some(permit) => permit,
            None => free.acquire_owned().await.expect("the semaphore is never closed"),
        };
        Some(Permit { entry, _permit: permit })
    }
}

impl Permit {
    /// Waits until the export has to end, so that another owner gets its permit.
    pub(crate) async fn displaced(&self) {
        self.entry.displaced.cancelled().await;
    }
}

impl Drop for PermitEntry {
    fn drop(&mut self) {
        // Cancellation tokens cannot be compared. The cancelled one is that of this export: a displaced export is not in the list.
        self.displaced.cancel();
        lock(&self.exports).retain(|export| !export.displaced.is_cancelled());
    }
}

/// Removes the newest export of the owner with the most exports and tells it to end, if `owner` then still has no more exports than
/// that owner.
fn displace(exports: &mut Vec<RunningExport>, owner: &ExportOwner) -> Option<()> {
    let mut counts: HashMap<&ExportOwner, usize> = HashMap::new();
    for export in exports.iter() {
        *counts.entry(&export.owner).or_default() += 1;
    }
    let own = counts.get(owner).copied().unwrap_or(0);
    let newest = exports.iter().rposition(|export| {
        let others = counts[&export.owner];
        others >= own + 2 && counts.values().all(|&count| count <= others)
    })?;
    exports.remove(newest).displaced.cancel();
    Some(())
}

fn lock(exports: &Mutex<Vec<RunningExport>>) -> MutexGuard<'_, Vec<RunningExport>> {
    // The list is whole also after a panic: each change of it is one call.
    exports.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    fn owner(last: u8) -> ExportOwner {
        ExportOwner::Address(Some([10, 0, 0, last].into()))
    }

    /// Acquires permits for exports of `owners`, and plays the displaced ones, which end. Returns who then runs.
    async fn run(owners: &[u8]) -> Vec<u8> {
        let permits = Permits::new(4);
        let mut running: Vec<(u8, Permit)> = Vec::new();
        for &number in owners {
            let acquired = permits.acquire(owner(number));
            tokio::pin!(acquired);
            let mut permit = acquired.as_mut().now_or_never();
            if permit.is_none() {
                running.retain(|(_, permit)| permit.displaced().now_or_never().is_none());
                permit = timeout(Duration::from_secs(5), acquired).await.ok();
            }
            running.extend(permit.expect("the displaced export has ended").map(|permit| (number, permit)));
        }
        assert_eq!(permits.used(), running.len());
        let mut owners: Vec<u8> = running.iter().map(|(number, _)| *number).collect();
        owners.sort_unstable();
        owners
    }

    #[tokio::test]
    async fn an_owner_gets_all_permits_while_nobody_else_wants_one() {
        assert_eq!(run(&[1, 1, 1, 1, 1]).await, [1, 1, 1, 1]);
    }

    #[tokio::test]
    async fn an_owner_displaces_exports_of_others_up_to_its_share() {
        assert_eq!(run(&[1, 1, 1, 1, 2]).await, [1, 1, 1, 2]);
        assert_eq!(run(&[1, 1, 1, 1, 2, 2, 2, 2]).await, [1, 1, 2, 2]);
        assert_eq!(run(&[1, 1, 1, 1, 2, 2, 3, 4, 5, 1]).await, [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn the_newest_export_is_displaced() {
        let permits = Permits::new(2);
        let old = permits.acquire(owner(1)).await.expect("a permit is free");
        let new = permits.acquire(owner(1)).await.expect("a permit is free");
        let third = permits.acquire(owner(2));
        tokio::pin!(third);
        assert!(third.as_mut().now_or_never().is_none(), "it waits for the displaced export");
        assert!(old.displaced().now_or_never().is_none() && new.displaced().now_or_never().is_some());
        drop(new);
        assert!(third.await.is_some());
        assert_eq!(permits.used(), 1);
    }

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
