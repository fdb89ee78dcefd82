//! `keywire ls`: lists keys in byte order, one per line.

use std::io::{BufWriter, Write};

use crate::cli::client::{Failure, ReadTargetArgs, printed};
use crate::cli::listing::{ListedKey, Listing, PrefixArgs, Size};
use crate::cli::shown::shown;

/// Options of `ls`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    prefix: PrefixArgs,

    /// Show the rev, and the size of the value in bytes, before each key
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// Prints the keys, page by page.
pub(crate) async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let target = args.target.read_target();
    let mut listing = if args.long {
        Listing::with_sizes(target, args.prefix.prefix())
    } else {
        Listing::of_keys(target, args.prefix.prefix())
    };
    while let Some(keys) = listing.next().await? {
        for key in &keys {
            printed(print(&mut out, key))?;
        }
        printed(out.flush())?;
    }
    Ok(())
}

fn print(out: &mut impl Write, listed: &ListedKey) -> std::io::Result<()> {
    if let Some(Size(bytes)) = listed.value {
        write!(out, "{:>16} {bytes:>7} ", listed.rev)?;
    }
    writeln!(out, "{}", shown(&listed.key))
}
