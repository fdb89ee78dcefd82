//! The store of Keywire: keys with values on `MySQL`, `MariaDB` or `SQLite`. Writes that wait at the same time are committed
//! together.
//!
//! Promises, with every engine:
//! - A [`WriteOutcome`] is given only after COMMIT succeeded. The durability of the database was checked when the connection was
//!   opened.
//! - After [`Refusal::Unavailable`] and [`Refusal::Overloaded`] the write is certainly not applied.
//! - After a COMMIT without an answer, the fence tells whether the write was applied, before the write is tried again. If this
//!   cannot be found out in time, the outcome is [`Refusal::OutcomeUnknown`].
//! - A [`Reader`] sees every write that was acknowledged before its SELECT was sent.
//! - A [`Snapshot`] shows the store as it was at one instant, with every write that was acknowledged before.
//! - Keys and values are compared and stored byte for byte: nothing is folded, padded or cut.
//!
//! A write goes from [`Writer`] through the queue of a lane (`lane`) into a transaction (`plan`, `fence`) of an engine (`engine`,
//! `mysql`, `sqlite`). Reads go from [`Reader`] or [`Scanner`] to an engine.

mod changes;
mod engine;
mod entry;
mod error;
mod fence;
mod follower;
mod foreign;
mod lane;
mod mysql;
mod outage;
mod plan;
mod row;
mod scanner;
#[cfg(test)]
mod scripted;
mod sqlite;
mod store;
mod sweeper;
mod timeouts;

pub use changes::{LanePosition, LogState, TRANSACTION_MICROS_MAX};
pub use engine::DatabaseUsers;
pub use entry::{
    Change, Entry, Expiry, KEY_BYTES_MAX, Key, KeyError, KeyRecord, Op, Outcome, Record, Refusal, Rev,
    VALUE_BYTES_MAX, Value, ValueTooLong, Write, WriteOutcome,
};
pub use error::{BadUrl, Cause, Error};
pub use follower::{Content, Follower, FoundRow, LogSnapshot, Values};
pub use foreign::copy::PrivateCopy;
pub use foreign::{ForeignCell, ForeignEntry, ForeignNames, ForeignRow, ForeignTable, UnfitRow};
pub use lane::config::{BatchReport, WriterConfig};
pub use lane::pending::Ticket;
pub use lane::sender::Priority;
pub use lane::writer::{Submitted, Writer, WriterHealth};
pub use outage::OutageLog;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use plan::model as plan_model;
pub use row::{DamagedRow, RowError};
pub use scanner::range::Range;
pub use scanner::{Scanner, Snapshot};
pub use store::{Reader, Store};
pub use sweeper::{Round, SweepConfig, SweepReport, sweep};
