//! `keywire del`: deletes one key, or all keys with a prefix.

mod prefix;

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::put::{self, WriteOptions};

/// Options of `del`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DelArgs {
    /// The key
    key: Option<String>,

    /// Delete all keys with this prefix instead
    #[arg(long, conflicts_with_all = ["key", "if_rev", "rev"])]
    prefix: Option<String>,

    /// Delete every key of the server; needed if the prefix is empty
    #[arg(long, conflicts_with_all = ["key", "if_rev", "rev"])]
    all: bool,

    /// Only tell how many keys --prefix or --all would delete
    #[arg(long, conflicts_with = "key")]
    dry_run: bool,

    #[command(flatten)]
    options: WriteOptions,

    #[command(flatten)]
    targets: TargetArgs,
}

/// Deletes one key, or all keys with a prefix. A key that does not exist is a failure; a prefix without keys is not.
pub(crate) async fn del(args: &DelArgs) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.into()));
    let prefix = match (args.prefix.as_deref(), args.all) {
        (Some(""), false) if !args.dry_run => {
            return usage("--prefix is empty, so this would delete every key; if you want that, add --all");
        }
        (Some(prefix), true) if !prefix.is_empty() => {
            return usage("--all deletes every key, --prefix only some keys: give one of them");
        }
        (Some(prefix), _) => prefix,
        (None, true) => "",
        (None, false) => {
            let Some(key) = &args.key else {
                return usage("give the KEY to delete, or --prefix to delete all keys with a prefix");
            };
            return put::delete(key, &args.options, &args.targets).await;
        }
    };
    if args.dry_run {
        prefix::dry_run(&args.targets, prefix).await
    } else {
        prefix::delete(&args.targets, prefix).await
    }
}
