//! `keywire count`: how many keys there are.

use std::io::Write as _;

use crate::cli::client::{Failure, ReadTargetArgs, printed};
use crate::cli::listing::{Listing, PrefixArgs};
use crate::cli::progress::Progress;

/// Options of `count`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CountArgs {
    #[command(flatten)]
    prefix: PrefixArgs,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// Prints the number of keys.
pub(crate) async fn count(args: &CountArgs) -> Result<(), Failure> {
    let progress = Progress::new(None);
    let count =
        counted_keys(Listing::of_keys(args.target.read_target(), args.prefix.prefix()), &progress).await?;
    drop(progress);
    printed(writeln!(std::io::stdout(), "{count}"))
}

/// How many keys `listing` has.
pub(crate) async fn counted_keys(mut listing: Listing<'_>, progress: &Progress) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(keys) = listing.next().await? {
        count += keys.len() as u64;
        progress.at_count(count, count, "key");
    }
    Ok(count)
}
