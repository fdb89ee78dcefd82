//! `keywire put`, and the delete of one key: one write. The command ends when the reply has come.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use chassis::process::terminal::say;
use db::VALUE_BYTES_MAX;
use serde::Serialize;
use tokio::time::timeout;

use crate::cli::client::{Failure, Reply, Socket, TargetArgs, one_line, printed};

/// Time limit of the reply. Longer than the time limit of the server.
const REPLY_MAX: Duration = Duration::from_secs(30);

/// Options of `put`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PutArgs {
    /// The key: 1 to 512 bytes of UTF-8
    key: String,

    /// The value: up to 1 MiB of UTF-8; `-` reads it from stdin
    #[arg(allow_negative_numbers = true)]
    value: String,

    /// Seconds until the entry expires; default: it never expires
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_153_600_000))]
    ttl: Option<u64>,

    #[command(flatten)]
    options: WriteOptions,

    #[command(flatten)]
    targets: TargetArgs,
}

/// Options of any single write.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WriteOptions {
    /// Only if the key has this rev; 0: only if it does not exist
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(u64).range(..=9_223_372_036_854_775_807))]
    if_rev: Option<u64>,

    /// Print the rev of the write
    #[arg(long)]
    rev: bool,
}

/// A message on the socket. It always has `op`, so that the reply has the rev.
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

/// Writes a value. Success means that the write is committed and on disk.
pub(crate) async fn put(args: &PutArgs) -> Result<(), Failure> {
    let piped;
    let value = match args.value.as_str() {
        "-" => {
            piped = stdin()?;
            &piped
        }
        value => value,
    };
    let (ttl, if_rev) = (args.ttl, args.options.if_rev);
    let message = Message { op: "set", key: &args.key, value: Some(value), ttl, if_rev };
    write(&args.targets, &message, args.options.rev).await
}

/// Deletes a key. A missing key is a failure.
pub(crate) async fn delete(key: &str, options: &WriteOptions, targets: &TargetArgs) -> Result<(), Failure> {
    let if_rev = options.if_rev;
    let message = Message { op: "delete", key, value: None, ttl: None, if_rev };
    write(targets, &message, options.rev).await
}

async fn write(targets: &TargetArgs, message: &Message<'_>, shows_rev: bool) -> Result<(), Failure> {
    let text = serde_json::to_string(message).expect("strings and numbers are always JSON");
    let mut socket = Socket::connect(targets.write_target()).await?;
    let replied = timeout(REPLY_MAX, async {
        socket.feed(text).await?;
        socket.flush().await?;
        socket.reply().await
    });
    let Ok(replied) = replied.await else {
        let wait = REPLY_MAX.as_secs();
        return Err(Failure::Unavailable(format!(
            "no reply within {wait} s; the write may or may not be applied"
        )));
    };
    let reply = Reply::parse(replied?.as_bytes())?;
    socket.close().await;
    let reply = reply.into_success()?;
    if std::io::stderr().is_terminal() {
        say(one_line(&reply.message));
    }
    match reply.rev.filter(|_| shows_rev) {
        Some(rev) => printed(writeln!(std::io::stdout(), "{rev}")),
        None => Ok(()),
    }
}

/// Reads the value from stdin, to its end.
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
