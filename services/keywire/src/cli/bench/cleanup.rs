//! Deletes the keys of a finished run.

use tokio::sync::mpsc::{Receiver, channel};

use crate::cli::client::Failure;
use crate::cli::delivery::{Chunk, Delivery, Line, Unit};
use crate::cli::progress::Progress;

use super::args::BenchArgs;
use super::keys;

/// The lines of one chunk.
const CHUNK_LINES: u64 = 1024;

/// Deletes every key that the run could write.
pub(super) async fn delete_keys(args: &BenchArgs) -> Result<(), Failure> {
    let progress = if args.json { Progress::hidden() } else { Progress::new(Some(args.keys.get())) };
    let mut delivery = Delivery::new(args.targets.write_target(), Unit::Key, deletes(args), &progress);
    delivery.run().await?;
    delivery.into_success()
}

/// Makes the deletes while they are sent.
fn deletes(args: &BenchArgs) -> Receiver<Chunk> {
    let (sender, deletes) = channel(1);
    let (prefix, count) = (args.key_prefix.clone(), args.keys.get());
    tokio::spawn(async move {
        let mut from = 0;
        while from < count {
            let to = count.min(from + CHUNK_LINES);
            let line = |number| {
                let mut key = String::new();
                keys::write_key(&prefix, number, &mut key);
                // Without a condition: the run does not know the revisions.
                Ok(Line::delete(number + 1, &key, None))
            };
            // The receiver may have been dropped.
            if sender.send(Ok((from..to).map(line).collect())).await.is_err() {
                return;
            }
            from = to;
        }
    });
    deletes
}
