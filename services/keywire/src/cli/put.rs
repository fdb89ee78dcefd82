//! `keywire put` and `keywire del`: one write, done when its answer is there.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use chassis::process::terminal::say;
use db::VALUE_BYTES_MAX;
use serde::Serialize;
use tokio::time::timeout;

use crate::cli::client::{Answer, Failure, Pair, Socket, one_line, printed};

/// How long an answer may take; longer than the service gives itself.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What to write where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PutArgs {
    /// The key, 1 to 512 bytes of any UTF-8
    key: String,

    /// The value, up to 1 MiB of any UTF-8; `-` reads it from stdin to the byte
    #[arg(allow_negative_numbers = true)]
    value: String,

    /// Let it expire after so many seconds; without, it stays
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_153_600_000))]
    ttl: Option<u64>,

    #[command(flatten)]
    condition: Condition,

    #[command(flatten)]
    pair: Pair,
}

/// What to delete.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DelArgs {
    /// The key
    key: String,

    #[command(flatten)]
    condition: Condition,

    #[command(flatten)]
    pair: Pair,
}

#[derive(Debug, Clone, clap::Args)]
struct Condition {
    /// Write only if the key has this rev; 0: only if it is not there
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(u64).range(..=9_223_372_036_854_775_807))]
    if_rev: Option<u64>,

    /// Print the rev of the write
    #[arg(long)]
    rev: bool,
}

/// A message of the socket. `op` is always said: it makes the answer carry the rev.
#[derive(Serialize)]
struct Message<'a> {
    op: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_rev: Option<u64>,
}

/// Writes a value. Done means committed and on disk.
pub(crate) async fn put(args: &PutArgs) -> Result<(), Failure> {
    let piped;
    let value = match args.value.as_str() {
        "-" => {
            piped = stdin()?;
            &piped
        }
        value => value,
    };
    let (ttl, if_rev) = (args.ttl, args.condition.if_rev);
    let message = Message { op: "set", key: &args.key, value: Some(value), ttl, if_rev };
    write(&args.pair, &message, args.condition.rev).await
}

/// Deletes a key; one that is not there is a failure.
pub(crate) async fn del(args: &DelArgs) -> Result<(), Failure> {
    let if_rev = args.condition.if_rev;
    let message = Message { op: "delete", key: &args.key, value: None, ttl: None, if_rev };
    write(&args.pair, &message, args.condition.rev).await
}

async fn write(pair: &Pair, message: &Message<'_>, shows_rev: bool) -> Result<(), Failure> {
    let text = serde_json::to_string(message).expect("strings and numbers are always JSON");
    let mut socket = Socket::connect(pair.write_side()).await?;
    let answered = timeout(ANSWER_MAX, async {
        socket.feed(text).await?;
        socket.flush().await?;
        socket.answer().await
    });
    let Ok(answered) = answered.await else {
        let wait = ANSWER_MAX.as_secs();
        return Err(Failure::Unavailable(format!("no answer within {wait} s; it may or may not be written")));
    };
    let answer = Answer::read(answered?.as_bytes())?;
    socket.close().await;
    let answer = answer.done()?;
    if std::io::stderr().is_terminal() {
        say(one_line(&answer.message));
    }
    match answer.rev.filter(|_| shows_rev) {
        Some(rev) => printed(writeln!(std::io::stdout(), "{rev}")),
        None => Ok(()),
    }
}

fn stdin() -> Result<String, Failure> {
    let mut value = Vec::new();
    let most = VALUE_BYTES_MAX as u64;
    std::io::stdin()
        .take(most + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::File("cannot read the value from stdin".into(), error))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Failure::Refused(format!("the value on stdin has more than {VALUE_BYTES_MAX} bytes")));
    }
    String::from_utf8(value).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        Failure::Refused(format!("the value on stdin is not UTF-8 from byte {at} on"))
    })
}
