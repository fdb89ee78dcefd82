//! Deletes all keys with a prefix: lists them without values, and sends the deletes over one socket, many in flight.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chassis::process::stop::Signals;
use chassis::process::terminal::say;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::count::counted_keys;
use crate::cli::delivery::{Chunk, Delivery, Line, STALL_MAX, Unit};
use crate::cli::listing::Listing;
use crate::cli::progress::{Progress, counted};

/// The pause before a page is requested again.
const PAUSE: Duration = Duration::from_secs(1);

/// Deletes all keys with `prefix`. A key that somebody writes after it was listed is kept. A signal ends the command; the report counts
/// the deletes that were answered.
pub(super) async fn delete(targets: &TargetArgs, prefix: &str) -> Result<(), Failure> {
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Failure::File("cannot catch signals".into(), error))?;
    let progress = Progress::new(None);
    let (sender, deletes) = channel(1);
    let mut delivery = Delivery::new(targets.write_target(), Unit::Key, deletes, &progress);
    let listing = async {
        send_deletes(Listing::of_keys(targets.read_target(), prefix), sender, &progress).await;
        std::future::pending::<Infallible>().await
    };
    let done = tokio::select! {
        done = delivery.run() => done,
        never = listing => match never {},
        signal = signals.next() => {
            Err(Failure::Interrupted("the last deletes that were sent may still be carried out", signal))
        }
    };
    delivery.report(done)
}

/// Says how many keys would be deleted.
pub(super) async fn dry_run(targets: &TargetArgs, prefix: &str) -> Result<(), Failure> {
    let progress = Progress::new(None);
    let count = counted_keys(Listing::of_keys(targets.read_target(), prefix), &progress).await?;
    drop(progress);
    say(format_args!("keywire: {} would be deleted", counted(count, "key")));
    Ok(())
}

/// Sends a delete for each key of `listing` to `deletes`. A page that the server does not answer is requested again for up to a minute.
/// The first page is requested only once, so that a wrong URL is reported at once.
async fn send_deletes(mut listing: Listing<'_>, deletes: Sender<Chunk>, progress: &Progress) {
    let (mut number, mut has_begun, mut failing_since) = (0, false, None);
    loop {
        let chunk = match listing.next().await {
            Ok(None) => return,
            Ok(Some(keys)) => {
                (has_begun, failing_since) = (true, None);
                Ok(keys
                    .into_iter()
                    .map(|key| {
                        number += 1;
                        Ok(Line::delete(number, &key.key, Some(key.rev)))
                    })
                    .collect())
            }
            Err(Failure::Unavailable(why))
                if has_begun && failing_since.get_or_insert_with(Instant::now).elapsed() < STALL_MAX =>
            {
                progress.at(number, || format!("waiting for the server: {why}"));
                sleep(PAUSE).await;
                continue;
            }
            Err(failure) => Err(failure),
        };
        let is_last = chunk.is_err();
        // The receiver may have been dropped.
        if deletes.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}
