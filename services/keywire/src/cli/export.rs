//! `keywire export`: all entries at one instant, one write message per line.

mod output;

use std::path::PathBuf;

use chassis::config::path::file_path;
use chassis::process::stop::Signals;
use chassis::process::terminal::say;
use indicatif::HumanBytes;

use crate::cli::client::{Failure, ReadTargetArgs, encoded, fetch, fetch_slowly};
use crate::cli::progress::{Progress, counted};

use output::Output;

/// Options of `export`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    /// File to write; it appears, or replaces the old file, when the export is complete. Default: stdout
    #[arg(value_parser = file_path())]
    file: Option<PathBuf>,

    /// Export only keys with this prefix
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// The part of the export that has arrived.
#[derive(Debug, Default)]
struct ReceivedPart {
    lines: u64,
    bytes: u64,
    /// Whether the last line is complete.
    is_line_end: bool,
}

/// Exports to a file or to stdout, in constant memory. An incomplete export is a failure and leaves no file.
pub(crate) async fn export(args: &ExportArgs) -> Result<(), Failure> {
    let Some(file) = args.file.as_deref().filter(|file| file.as_os_str() != "-") else {
        return receive(args, Output::stdout()).await;
    };
    if !output::is_replaced(file) {
        return receive(args, Output::open(file)?).await;
    }
    // Only here a signal must be caught, to remove the unfinished file. While the command waits for a pipe, a signal ends it.
    let failed = |error| Failure::File("cannot catch signals".into(), error);
    let mut signals = Signals::listen().map_err(failed)?;
    let output = Output::open(file)?;
    tokio::select! {
        done = receive(args, output) => done,
        signal = signals.next() => Err(Failure::Interrupted("nothing was exported", signal)),
    }
}

async fn receive(args: &ExportArgs, mut output: Output) -> Result<(), Failure> {
    let query =
        if args.prefix.is_empty() { String::new() } else { format!("?prefix={}", encoded(&args.prefix)) };
    let (target, path) = (args.target.read_target(), format!("/export{query}"));
    let mut body =
        if output.is_file() { fetch(target, &path).await? } else { fetch_slowly(target, &path).await? };
    if !body.has_end {
        return Err(Failure::Unavailable("a proxy hides where the export ends".into()));
    }
    let progress = if output.is_terminal() { Progress::hidden() } else { Progress::new(None) };
    let mut received = ReceivedPart::default();
    while let Some(piece) = body.next().await.map_err(|why| received.incomplete(&why.to_string()))? {
        output.write(&piece)?;
        received.add(&piece);
        progress.at_count(received.bytes, received.lines, "line");
    }
    if received.bytes > 0 && !received.is_line_end {
        return Err(received.incomplete("the last line is incomplete"));
    }
    output.finish()?;
    let took = progress.elapsed();
    drop(progress);
    let (lines, bytes) = (counted(received.lines, "line"), HumanBytes(received.bytes));
    say(format_args!("keywire: {lines} exported, {bytes} in {:.1} s", took.as_secs_f64()));
    Ok(())
}

impl ReceivedPart {
    fn add(&mut self, piece: &[u8]) {
        self.lines += piece.split(|byte| *byte == b'\n').skip(1).count() as u64;
        self.bytes += piece.len() as u64;
        self.is_line_end = piece.last().map_or(self.is_line_end, |byte| *byte == b'\n');
    }

    fn incomplete(&self, why: &str) -> Failure {
        let lines = counted(self.lines, "line");
        Failure::Unavailable(format!("the export is incomplete, it broke off after {lines}: {why}"))
    }
}
