//! `keywire import`: sends every line as a write message, in order, over one socket, with many lines in flight.

mod counts;
mod delivery;
mod foreign;
mod line;
mod window;

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::PathBuf;

use chassis::process::terminal::say;

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::progress::Progress;

use delivery::Delivery;
use foreign::ForeignArgs;

/// Options of `import`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// File with one write message per line, as an export has them; default: stdin
    file: Option<PathBuf>,

    #[command(flatten)]
    foreign: ForeignArgs,

    #[command(flatten)]
    targets: TargetArgs,
}

/// Imports every line, or every row of another program's table.
pub(crate) async fn import(args: &ImportArgs) -> Result<(), Failure> {
    if let Some(source) = args.foreign.source()? {
        return foreign::import(&args.foreign, source, &args.targets).await;
    }
    let (input, progress) = open(args)?;
    let delivery = Delivery::new(args.targets.write_target(), line::read(input), &progress);
    finish(delivery, &progress).await
}

/// Writes everything and prints how much was written. What is refused is reported and skipped; the command fails at the end.
async fn finish(mut delivery: Delivery<'_>, progress: &Progress) -> Result<(), Failure> {
    let done = delivery.run().await;
    let summary = delivery.summary();
    progress.clear();
    if done.is_ok() && delivery.counts.refused > 0 {
        return Err(Failure::Refused(summary));
    }
    if done.is_ok() || delivery.counts.settled() > 0 {
        say(format_args!("keywire: {summary}"));
    }
    done
}

/// Opens the input, and the progress line for its size.
fn open(args: &ImportArgs) -> Result<(Box<dyn Read + Send>, Progress), Failure> {
    let Some(path) = args.file.as_deref().filter(|file| file.as_os_str() != "-") else {
        let stdin = std::io::stdin();
        let progress = if stdin.is_terminal() { Progress::hidden() } else { Progress::new(None) };
        return Ok((Box::new(stdin), progress));
    };
    let failed = |error| Failure::File(format!("cannot read {}", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let total = if found.is_file() { Some(found.len()) } else { None };
    Ok((Box::new(file), Progress::new(total)))
}
