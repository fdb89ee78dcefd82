//! The durable map of Keywire: what waits together is committed together, on `MySQL`, `MariaDB` or `SQLite`.
//!
//! Promises of the store, whatever the engine:
//! - An [`Outcome`] is given only after its COMMIT succeeded on a database whose durability was
//!   checked when the connection was opened.
//! - [`Refusal::Unavailable`] and [`Refusal::Overloaded`] mean certainly not applied.
//! - A write whose COMMIT got no answer is never repeated without asking the fence whether it was
//!   applied; if that cannot be found out in time it is [`Refusal::OutcomeUnknown`].
//! - A [`Reader`] sees every write that was acknowledged before its SELECT was sent.
//! - A [`Snapshot`] shows the store as it was at one instant, every write acknowledged before it included.
//! - Keys and values are bytes: nothing is folded, padded or cut.

mod engine;
mod entry;
mod error;
mod fence;
mod lane;
mod mysql;
mod plan;
mod scanner;
#[cfg(test)]
mod scripted;
mod sqlite;
mod store;
mod sweeper;
mod timeouts;

pub use engine::Grants;
pub use entry::{
    Change, Entry, Expiry, KEY_BYTES_MAX, Key, KeyError, Op, Outcome, Record, Refusal, Rev, VALUE_BYTES_MAX,
    Value, ValueTooLong, Write, WriteOutcome,
};
pub use error::{BadUrl, Cause, Error};
pub use lane::config::{BatchReport, WriterConfig};
pub use lane::pending::Ticket;
pub use lane::sender::Priority;
pub use lane::writer::{Submitted, Writer, WriterHealth};
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use plan::model as plan_model;
pub use scanner::range::Range;
pub use scanner::{Scanner, Snapshot};
pub use store::{Reader, Store};
pub use sweeper::{Round, sweep};
