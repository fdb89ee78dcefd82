//! `keywire export`: everything there is, as it stood at one instant, one write message a line.

mod output;

use std::path::PathBuf;

use chassis::process::stop::Signals;
use chassis::process::terminal::say;
use indicatif::HumanBytes;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::client::{Failure, Place, encoded, fetch, fetch_at_leisure};
use crate::cli::progress::{Progress, counted};

use output::Target;
pub(crate) use output::beside;

/// What to export where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    /// Where to; the file is there when it is whole, until then what was there stays. Stdout if not given
    file: Option<PathBuf>,

    /// Only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,

    #[command(flatten)]
    place: Place,
}

/// What has come.
#[derive(Debug, Default)]
struct Tally {
    lines: u64,
    bytes: u64,
    /// Whether the last line has its end.
    ends: bool,
}

/// Exports to the file or to stdout, in constant memory. An export that breaks off is a failure and leaves no file.
pub(crate) async fn export(args: &ExportArgs) -> Result<(), Failure> {
    let Some(file) = args.file.as_deref().filter(|file| file.as_os_str() != "-") else {
        return receive(args, Target::stdout()).await;
    };
    if !output::is_replaced(file) {
        return receive(args, Target::open(file)?).await;
    }
    // Signals are caught only here, where something is to be taken away: they end whatever waits for a pipe.
    let failed = |error| Failure::File("cannot catch signals".into(), error);
    let mut signals = Signals::listen().map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let target = Target::open(file)?;
    tokio::select! {
        done = receive(args, target) => done,
        signal = signals.next() => Err(Failure::Interrupted("exported", signal)),
        _ = hangup.recv() => Err(Failure::Interrupted("exported", SignalKind::hangup())),
    }
}

async fn receive(args: &ExportArgs, mut target: Target) -> Result<(), Failure> {
    let query =
        if args.prefix.is_empty() { String::new() } else { format!("?prefix={}", encoded(&args.prefix)) };
    let (side, from) = (args.place.side(), format!("/export{query}"));
    let mut body =
        if target.is_file() { fetch(side, &from).await? } else { fetch_at_leisure(side, &from).await? };
    if !body.has_end {
        return Err(Failure::Unavailable("something in between hides where the export ends".into()));
    }
    let progress = if target.is_terminal() { Progress::hidden() } else { Progress::new(None) };
    let mut tally = Tally::default();
    while let Some(piece) = body.next().await.map_err(|why| tally.incomplete(&why.to_string()))? {
        target.write(&piece)?;
        tally.add(&piece);
        progress.at_lines(tally.bytes, tally.lines);
    }
    if tally.bytes > 0 && !tally.ends {
        return Err(tally.incomplete("the last line has no end"));
    }
    target.finish()?;
    let took = progress.elapsed();
    drop(progress);
    let (lines, bytes) = (counted(tally.lines), HumanBytes(tally.bytes));
    say(format_args!("keywire: {lines} exported, {bytes} in {:.1} s", took.as_secs_f64()));
    Ok(())
}

impl Tally {
    fn add(&mut self, piece: &[u8]) {
        self.lines += piece.split(|byte| *byte == b'\n').skip(1).count() as u64;
        self.bytes += piece.len() as u64;
        self.ends = piece.last().map_or(self.ends, |byte| *byte == b'\n');
    }

    fn incomplete(&self, why: &str) -> Failure {
        let lines = counted(self.lines);
        Failure::Unavailable(format!("the export is incomplete, it broke off after {lines}: {why}"))
    }
}
