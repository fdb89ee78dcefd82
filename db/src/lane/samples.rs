//! Sample writes for tests.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Span;

use crate::entry::{Change, Expiry, Key, Op, Value, Write};
use crate::lane::config::WriterConfig;
use crate::lane::pending::{PendingWrite, Ticket};

/// A delete of `name`. Its size is 256 bytes and those of its key.
fn delete(name: &str) -> Op {
    let key = Key::new(name.to_owned(), 512).expect("a short key");
    Op { key, change: Change::Delete, if_rev: None, asks_rev: false }
}

/// A set of `name` that never expires and shows no revision.
pub(crate) fn set(name: &str) -> Write {
    Write::One(Op { asks_rev: false, ..set_and_ask(name) })
}

/// A set of `name` that shows its revision.
pub(crate) fn set_and_ask(name: &str) -> Op {
    let key = Key::new(name.to_owned(), 512).expect("a short key");
    let value = Value::new("v".to_owned(), 512).expect("a short value");
    Op { key, change: Change::Set(value, Expiry::Never), if_rev: None, asks_rev: true }
}

/// `write` with a deadline in `millis` milliseconds, and its ticket.
fn pending(write: Write, millis: u64) -> (PendingWrite, Ticket) {
    let bytes = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("it is open");
    PendingWrite::new(write, Span::none(), bytes, Instant::now() + Duration::from_millis(millis))
}

/// A delete of `name` with a deadline in `millis` milliseconds, and its ticket.
pub(crate) fn due(name: &str, millis: u64) -> (PendingWrite, Ticket) {
    pending(Write::One(delete(name)), millis)
}

/// One atomic write that deletes all `names`, with a deadline in `millis` milliseconds, and its ticket.
pub(crate) fn atomic(names: &[&str], millis: u64) -> (PendingWrite, Ticket) {
    pending(Write::Atomic(names.iter().map(|name| delete(name)).collect()), millis)
}

/// The keys of a write, joined.
pub(crate) fn name(pending: &PendingWrite) -> String {
    pending.write.ops().iter().map(|op| op.key.as_str()).collect()
}

/// Limits of `ops` ops and `bytes` bytes in a batch, for writes with the time limit `op_timeout`.
pub(crate) fn config(ops: usize, bytes: usize, op_timeout: Duration) -> WriterConfig {
    let some = |number| NonZeroUsize::new(number).expect("at least one");
    WriterConfig {
        lanes: some(1),
        batch_ops_max: some(ops),
        batch_bytes_max: bytes,
        queue_ops_max: some(1000),
        queue_bytes_max: 1 << 20,
        logs_changes: false,
        op_timeout,
    }
}
