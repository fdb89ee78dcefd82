//! `keywire get`: one value, to the byte.

use std::io::{IsTerminal as _, Write as _};

use serde::Deserialize;

use crate::cli::client::{Failure, Place, encoded, fetch, printed};

/// What to read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GetArgs {
    /// The key
    key: String,

    /// Print the rev first, on a line of its own
    #[arg(long)]
    rev: bool,

    #[command(flatten)]
    place: Place,
}

/// The answer to a get of several keys, here of one.
#[derive(Deserialize)]
struct Items {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    value: String,
    rev: u64,
}

/// Prints the value of a key; one that is not there is a failure.
pub(crate) async fn get(args: &GetArgs) -> Result<(), Failure> {
    // Not the path: `.` and `..` in it mean something else to what is in between.
    let body =
        fetch(args.place.side(), &format!("/storage?key={}", encoded(&args.key))).await?.whole().await?;
    let found: Items = serde_json::from_slice(&body)
        .map_err(|error| Failure::Unavailable(format!("not an answer of Keywire: {error}")))?;
    let Some(item) = found.items.first() else {
        return Err(Failure::Refused(format!("No value found for key {}", args.key)));
    };
    printed(print(item, args.rev))
}

fn print(item: &Item, shows_rev: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if shows_rev {
        writeln!(out, "{}", item.rev)?;
    }
    out.write_all(item.value.as_bytes())?;
    if out.is_terminal() {
        writeln!(out)?;
    }
    out.flush()
}
