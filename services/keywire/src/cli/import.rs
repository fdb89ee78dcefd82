//! `keywire import`: sends every line as a write message, in order, over one socket, with many lines in flight.

mod counts;
mod delivery;
mod line;
mod window;

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::PathBuf;

use chassis::process::terminal::say;

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::progress::Progress;

use delivery::Delivery;

/// Options of `import`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// File with one write message per line, as an export has them; default: stdin
    file: Option<PathBuf>,

    #[command(flatten)]
    targets: TargetArgs,
}

/// Imports every line and prints how many were written. A refused line is reported and skipped; the command fails at the end.
pub(crate) async fn import(args: &ImportArgs) -> Result<(), Failure> {
    let (input, progress) = open(args)?;
    let mut delivery = Delivery::new(args.targets.write_target(), line::read(input), &progress);
    let done = delivery.run().await;
    let summary = delivery.counts.summary(progress.elapsed().as_secs_f64());
    let (refused, settled) = (delivery.counts.refused > 0, delivery.counts.settled() > 0);
    drop(progress);
    if done.is_ok() && refused {
        return Err(Failure::Refused(summary));
    }
    if done.is_ok() || settled {
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
