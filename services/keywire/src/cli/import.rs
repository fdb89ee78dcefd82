//! `keywire import`: sends every line as a write message, in order, over one socket, with many lines in flight.

mod foreign;
mod format;
mod reader;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::delivery::{Delivery, Unit};
use crate::cli::progress::Progress;

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
    let path = args.file.as_deref().filter(|file| file.as_os_str() != "-");
    let (input, progress) = open(path)?;
    let lines = reader::read(input, path.map(Path::to_owned));
    let mut delivery = Delivery::new(args.targets.write_target(), Unit::Line, lines, &progress);
    let done = delivery.run().await;
    delivery.report(done)
}

/// Opens the file at `path`, or stdin, and the progress line for its size.
fn open(path: Option<&Path>) -> Result<(Box<dyn Read + Send>, Progress), Failure> {
    let Some(path) = path else {
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

fn unreadable(error: io::Error) -> Failure {
    Failure::File("cannot read the input to its end".into(), error)
}
