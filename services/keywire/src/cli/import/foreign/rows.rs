//! Turns rows into write messages.

use std::io;

use db::{ForeignEntry, PrivateCopy};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, channel};

use crate::cli::delivery::{BadLine, Chunk, Line};
use crate::cli::import::unreadable;

/// A write message. `key` and `value` alone get the shortest reply.
#[derive(Serialize)]
struct Set<'a> {
    key: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_rev: Option<u64>,
}

/// Reads the rows in a task of its own; some are read ahead. With `if_absent`, a message changes nothing if its key exists.
pub(super) fn chunks(mut copy: PrivateCopy, if_absent: bool) -> Receiver<Chunk> {
    let (sender, chunks) = channel(1);
    tokio::spawn(async move {
        let mut number = 0;
        loop {
            let chunk: Chunk = match copy.next().await {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => Ok(rows
                    .into_iter()
                    .map(|row| {
                        number += 1;
                        row.map(|entry| Line::new(number, message(&entry, if_absent), number))
                            .map_err(|unfit| BadLine { number, why: unfit.to_string(), end: number })
                    })
                    .collect()),
                Err(error) => Err(unreadable(io::Error::other(error))),
            };
            let is_last = chunk.is_err();
            // The receiver may have been dropped.
            if sender.send(chunk).await.is_err() || is_last {
                return;
            }
        }
    });
    chunks
}

fn message(entry: &ForeignEntry, if_absent: bool) -> String {
    let if_rev = if_absent.then_some(0);
    let set = Set { key: entry.key.as_str(), value: entry.value.as_str(), if_rev };
    serde_json::to_string(&set).expect("strings and numbers are always JSON")
}
