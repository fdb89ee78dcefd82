//! `keywire watch`: prints one line for each event of `GET /watch`. When the stream is lost, it connects again and resumes.

mod events;
mod line;
mod pause;
mod stdout;
#[cfg(test)]
mod tests;

use chassis::process::stop::Signals;
use chassis::process::terminal::say;
use tokio::time::sleep;

use crate::cli::client::{Failure, Opened, ReadTargetArgs, Target, encoded, fetch_events, one_line};

use events::{Event, EventReader, Item};
use line::Form;
use pause::Pause;

/// Options of `watch`.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one")]
pub(crate) struct WatchArgs {
    /// Keys to watch, up to 100; default: all keys
    #[arg(value_name = "KEY")]
    keys: Vec<String>,

    /// Watch all keys with this prefix
    #[arg(long, conflicts_with = "keys")]
    prefix: Option<String>,

    /// Print each event as a JSON object on a line, with its cursor as `id` if it has one
    #[arg(long)]
    json: bool,

    /// Leave the values out
    #[arg(long)]
    no_values: bool,

    /// Print only what changes from now on, not what is there
    #[arg(long)]
    no_snapshot: bool,

    /// End when everything that is there was printed; with --after: everything that has changed
    #[arg(long)]
    once: bool,

    /// Begin with what has changed since this cursor: an `id` that --json has printed for the same keys or prefix
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// What a watch prints.
#[derive(Debug)]
enum Output {
    /// Lines for stdout.
    Lines(Vec<u8>),
    /// A line about the connection, for stderr.
    Note(String),
}

/// Prints events until a signal comes, nobody reads stdout any more, or the server refuses the watch for good.
pub(crate) async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Failure::File("cannot catch signals".into(), error))?;
    let mut watch = Watch::new(args, args.target.read_target());
    let print = async |output| match output {
        Output::Lines(lines) => stdout::print(lines).await,
        Output::Note(note) => {
            say(format_args!("keywire: {}", one_line(&note)));
            Ok(())
        }
    };
    tokio::select! {
        done = watch.run(print) => done,
        _ = signals.next() => Ok(()),
        () = stdout::closed() => Err(Failure::StdoutClosed),
    }
}

/// A watch: one stream after another, each resumed from the last cursor.
#[derive(Debug)]
struct Watch<'a> {
    args: &'a WatchArgs,
    target: Target<'a>,
    form: Form,
    known: Known,
    /// The server has answered once. From then on a lost connection is no failure.
    is_found: bool,
    /// The stream was lost, and no later one is live yet.
    is_lost: bool,
    pause: Pause,
}

/// What was printed, and so what the reader of the lines knows.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// Nothing was printed.
    Nothing,
    /// A part of a snapshot was printed. No cursor continues it.
    Part,
    /// Everything up to this cursor was printed, perhaps more.
    UpTo(String),
}

/// Why the events of a stream have ended.
#[derive(Debug)]
enum End {
    /// Everything that was asked for is printed.
    Done,
    /// The stream is lost, for this reason.
    Lost(String),
}

impl<'a> Watch<'a> {
    fn new(args: &'a WatchArgs, target: Target<'a>) -> Self {
        Self {
            args,
            target,
            form: if args.json { Form::Json } else { Form::Text },
            known: args.after.clone().map_or(Known::Nothing, Known::UpTo),
            is_found: false,
            is_lost: false,
            pause: Pause::default(),
        }
    }

    /// Follows one stream after another. Fails if the server cannot be reached at first, or refuses the watch for good.
    async fn run<F>(&mut self, mut print: impl FnMut(Output) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        loop {
            let why = match self.follow(&mut print).await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Lost(why)) => why,
                Err(Failure::Unavailable(why)) if self.is_found => why,
                Err(failure) => return Err(failure),
            };
            if !std::mem::replace(&mut self.is_lost, true) {
                print(Output::Note(format!("{why}; connecting again"))).await?;
            }
            sleep(self.pause.next()).await;
        }
    }

    /// Prints the events of one stream.
    async fn follow<F>(&mut self, print: &mut impl FnMut(Output) -> F) -> Result<End, Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let opened = fetch_events(self.target, &self.path()).await?;
        self.is_found = true;
        let mut stream = match opened {
            Opened::Stream(stream) => stream,
            Opened::NotNow(why) => return Ok(End::Lost(why)),
        };
        let (mut reader, mut lines) = (EventReader::default(), Vec::new());
        if self.known == Known::Part {
            // The server sends a new snapshot. It cannot tell which of the printed keys are gone by now, so the reader must forget them.
            let data = r#"{"code":"interrupted"}"#.into();
            self.form.write(&Event { name: "reset".into(), data, id: None }, &mut lines)?;
        }
        while let Some(piece) = stream.next().await? {
            let items = reader.read(&piece);
            for item in items.map_err(|why| Failure::Refused(format!("not a stream of Keywire: {why}")))? {
                let event = match item {
                    Item::Retry(retry) => {
                        self.pause.ask(retry);
                        continue;
                    }
                    Item::Event(event) => event,
                };
                self.form.write(&event, &mut lines)?;
                if !self.note(event) {
                    continue;
                }
                self.pause.end();
                print(Output::Lines(std::mem::take(&mut lines))).await?;
                if self.args.once {
                    return Ok(End::Done);
                }
                if std::mem::take(&mut self.is_lost) {
                    print(Output::Note("the stream is live again".into())).await?;
                }
            }
            if !lines.is_empty() {
                print(Output::Lines(std::mem::take(&mut lines))).await?;
            }
        }
        Ok(End::Lost("the server has ended the stream".into()))
    }

    /// Notes that `event` is printed. Returns whether it is `ready`: the stream is live from here on.
    fn note(&mut self, event: Event) -> bool {
        match (event.name.as_str(), event.id) {
            ("reset", _) => self.known = Known::Part,
            (_, Some(cursor)) => self.known = Known::UpTo(cursor),
            ("put" | "delete", None) if self.known == Known::Nothing => self.known = Known::Part,
            (_, None) => {}
        }
        event.name == "ready"
    }

    /// The path of the next stream, with its query.
    fn path(&self) -> String {
        let args = self.args;
        let mut query: Vec<_> = args.keys.iter().map(|key| format!("key={}", encoded(key))).collect();
        query.extend(args.prefix.iter().map(|prefix| format!("prefix={}", encoded(prefix))));
        if args.no_values {
            query.push("values=false".into());
        }
        if args.no_snapshot && self.known != Known::Part {
            query.push("snapshot=false".into());
        }
        match &self.known {
            Known::Nothing | Known::Part => {}
            Known::UpTo(cursor) => query.push(format!("after={}", encoded(cursor))),
        }
        if query.is_empty() { "/watch".into() } else { format!("/watch?{}", query.join("&")) }
    }
}
