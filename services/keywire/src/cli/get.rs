//! `keywire get`: one value, to the byte.

use std::io::{IsTerminal as _, Write as _};

use serde::Deserialize;

use crate::cli::client::{Failure, ReadTargetArgs, encoded, fetch, printed};

/// Options of `get`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GetArgs {
    /// The key
    key: String,

    /// Print the rev on a line before the value
    #[arg(long)]
    rev: bool,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// The reply to a multi-get, here of one key.
#[derive(Deserialize)]
struct MultiGet {
    items: Vec<FoundValue>,
}

#[derive(Deserialize)]
struct FoundValue {
    value: String,
    rev: u64,
}

/// Prints the value of a key. A missing key is a failure.
pub(crate) async fn get(args: &GetArgs) -> Result<(), Failure> {
    // The key is a parameter, because proxies resolve the keys `.` and `..` in a path.
    let path = format!("/storage?key={}", encoded(&args.key));
    let reply: MultiGet = fetch(args.target.read_target(), &path).await?.json().await?;
    let Some(found) = reply.items.first() else {
        return Err(Failure::Refused(format!("No value found for key {}", args.key)));
    };
    printed(print(found, args.rev))
}

fn print(found: &FoundValue, shows_rev: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if shows_rev {
        writeln!(out, "{}", found.rev)?;
    }
    out.write_all(found.value.as_bytes())?;
    if out.is_terminal() {
        writeln!(out)?;
    }
    out.flush()
}
