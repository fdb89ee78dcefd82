//! `keywire import`: every line is a write message, sent in order over one socket, many under way.

mod delivery;
mod line;
mod window;

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::PathBuf;

use chassis::process::terminal::say;
use indicatif::HumanCount;

use crate::cli::client::{Failure, Pair};
use crate::cli::progress::{Progress, counted};

use delivery::{Delivery, Tally};

/// What to import.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// A file of write messages, one a line, as export makes it; stdin if not given
    file: Option<PathBuf>,

    #[command(flatten)]
    pair: Pair,
}

/// Imports every line there is and says what became of them. A line that is refused is reported and the rest goes on;
/// the command has failed then.
pub(crate) async fn import(args: &ImportArgs) -> Result<(), Failure> {
    let (input, progress) = open(args)?;
    let mut delivery = Delivery::new(args.pair.write_side(), line::read(input), &progress);
    let done = delivery.run().await;
    let summary = summary(&delivery.tally, progress.elapsed().as_secs_f64());
    let (refused, settled) = (delivery.tally.refused > 0, delivery.tally.settled() > 0);
    drop(progress);
    if done.is_ok() && refused {
        return Err(Failure::Refused(summary));
    }
    if done.is_ok() || settled {
        say(format_args!("keywire: {summary}"));
    }
    done
}

/// The input, and what shows how far it is read.
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

fn summary(tally: &Tally, seconds: f64) -> String {
    let mut parts = vec![format!("{} written", counted(tally.written))];
    for (count, what) in [(tally.refused, "refused"), (tally.expired, "expired before")] {
        if count > 0 {
            parts.push(format!("{} {what}", HumanCount(count)));
        }
    }
    format!("{} in {seconds:.1} s", parts.join(", "))
}
