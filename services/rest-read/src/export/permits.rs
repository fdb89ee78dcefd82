//! Permits for exports: one limit for all of them, shared fairly among their owners.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::owner::{Owner, gives_way};

/// The permits of a process. If none is free, an owner with at least two running exports fewer than another one displaces the newest
/// export of the owner that has the most. If nobody has as many, an owner without an export displaces one whose client is slow.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    all: usize,
    exports: Arc<Mutex<Vec<RunningExport>>>,
}

#[derive(Debug)]
struct RunningExport {
    owner: Owner,
    displaced: CancellationToken,
    /// Whether its client is slow.
    is_slow: Arc<AtomicBool>,
}

/// The permit of one export. Dropping it gives the permit back.
#[derive(Debug)]
pub(crate) struct Permit {
    registration: Registration,
    _permit: OwnedSemaphorePermit,
}

/// Keeps an export among the running ones. Dropping it removes the export.
#[derive(Debug)]
struct Registration {
    displaced: CancellationToken,
    is_slow: Arc<AtomicBool>,
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
    pub(crate) async fn acquire(&self, owner: Owner) -> Option<Permit> {
        let free = Arc::clone(&self.free);
        let (registration, permit) = {
            let mut exports = lock(&self.exports);
            let permit = Arc::clone(&free).try_acquire_owned().ok();
            if permit.is_none() {
                displace(&mut exports, &owner)?;
            }
            let (displaced, is_slow) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
            let registration = Registration {
                displaced: displaced.clone(),
                is_slow: Arc::clone(&is_slow),
                exports: Arc::clone(&self.exports),
            };
            exports.push(RunningExport { owner, displaced, is_slow });
            (registration, permit)
        };
        let permit = match permit {
            Some(permit) => permit,
            None => free.acquire_owned().await.expect("the semaphore is never closed"),
        };
        Some(Permit { registration, _permit: permit })
    }
}

impl Permit {
    /// Waits until the export has to end, so that another owner gets its permit.
    pub(crate) async fn displaced(&self) {
        self.registration.displaced.cancelled().await;
    }

    /// Notes whether the client of the export is slow.
    pub(crate) fn set_slow(&self, is_slow: bool) {
        self.registration.is_slow.store(is_slow, Ordering::Relaxed);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Cancellation tokens cannot be compared. The cancelled one is that of this export: a displaced export is not in the list.
        self.displaced.cancel();
        lock(&self.exports).retain(|export| !export.displaced.is_cancelled());
    }
}

/// Removes the export that ends for `owner`, and tells it to end.
fn displace(exports: &mut Vec<RunningExport>, owner: &Owner) -> Option<()> {
    let mut counts: HashMap<&Owner, usize> = HashMap::new();
    for export in exports.iter() {
        *counts.entry(&export.owner).or_default() += 1;
    }
    let own = counts.get(owner).copied().unwrap_or(0);
    let largest = gives_way(exports.iter().map(|export| (&export.owner, counts[&export.owner])), own);
    let ends = match largest {
        Some(largest) => exports.iter().rposition(|export| export.owner == *largest),
        // The oldest one has had the most time.
        None if own == 0 => exports.iter().position(|export| export.is_slow.load(Ordering::Relaxed)),
        None => None,
    };
    exports.remove(ends?).displaced.cancel();
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
    use crate::owner::owner;

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

    /// Permits that owners 1 to 4 have, and those of exports whose clients are slow.
    async fn four(slow: &[usize]) -> (Permits, Vec<Permit>) {
        let permits = Permits::new(4);
        let mut running = Vec::new();
        for number in 1..=4 {
            running.push(permits.acquire(owner(number)).await.expect("a permit is free"));
        }
        for at in slow {
            running[*at].set_slow(true);
        }
        (permits, running)
    }

    #[tokio::test]
    async fn an_owner_without_an_export_displaces_the_oldest_slow_one() {
        let (permits, mut running) = four(&[1, 3]).await;
        for slow in [1, 2] {
            assert!(permits.acquire(owner(1)).await.is_none(), "it has an export");
            let newcomer = permits.acquire(owner(4 + u8::try_from(slow).expect("a small number")));
            tokio::pin!(newcomer);
            assert!(newcomer.as_mut().now_or_never().is_none(), "it waits for the displaced export");
            let displaced: Vec<bool> =
                running.iter().map(|permit| permit.displaced().now_or_never().is_some()).collect();
            assert_eq!(displaced.iter().position(|displaced| *displaced), Some(slow), "{displaced:?}");
            drop(running.remove(slow));
            running.push(newcomer.await.expect("a permit is free"));
        }
        assert!(permits.acquire(owner(9)).await.is_none(), "no slow one is left");
    }

    #[tokio::test]
    async fn an_export_whose_client_is_fast_is_not_displaced_for_an_owner_without_one() {
        let (permits, running) = four(&[]).await;
        assert!(permits.acquire(owner(5)).await.is_none());
        running[2].set_slow(true);
        running[2].set_slow(false);
        assert!(permits.acquire(owner(5)).await.is_none(), "it was slow once");
        assert!(running.iter().all(|permit| permit.displaced().now_or_never().is_none()));
    }
}
