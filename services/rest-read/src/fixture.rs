//! A small `SQLite` store for the tests of this crate.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chassis::peer::Peer;
use db::{Change, DatabaseUsers, Expiry, Key, Op, Store, Value, Write, Writer, WriterConfig};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::config::ReadLimits;

/// Longer than anything takes that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A database in a temporary folder. It does not exist until it is migrated.
pub(crate) struct TestDatabase {
    pub(crate) store: Store,
    _folder: TempDir,
}

impl TestDatabase {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        Self { store, _folder: folder }
    }

    /// A database with these entries.
    pub(crate) async fn holding(entries: &[(&str, &str)]) -> Self {
        let database = Self::new();
        database.migrate().await;
        database.write(entries).await;
        database
    }

    pub(crate) async fn migrate(&self) {
        self.store.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
    }

    pub(crate) async fn write(&self, entries: &[(&str, &str)]) {
        let lanes = TaskTracker::new();
        let config = WriterConfig {
            lanes: NonZeroUsize::MIN,
            batch_ops_max: NonZeroUsize::new(256).expect("not zero"),
            batch_bytes_max: 8 << 20,
            queue_ops_max: NonZeroUsize::new(1024).expect("not zero"),
            queue_bytes_max: 64 << 20,
            logs_changes: true,
            op_timeout: PATIENCE,
        };
        let writer = Writer::start(&self.store, config, &lanes, |_| {});
        for (key, value) in entries {
            let value = Value::new((*value).to_owned(), usize::MAX).expect("a valid value");
            let change = Change::Set(value, Expiry::Never);
            let set = Op { key: a_key(key), change, if_rev: None, asks_rev: false };
            let ticket = writer
                .submit(Write::One(set), db::Priority::High, tracing::Span::none(), writer.deadline())
                .await
                .expect("there is room");
            ticket.await.expect("it is committed");
        }
        drop(writer);
        lanes.close();
        lanes.wait().await;
    }
}

pub(crate) fn a_key(text: &str) -> Key {
    Key::new(text.to_owned(), usize::MAX).expect("a valid key")
}

/// The connection of a client on this machine, without a rate limit.
pub(crate) fn local_peer() -> Arc<Peer> {
    Arc::new(Peer::new(Ipv4Addr::LOCALHOST.into(), 0))
}

/// Limits like the defaults, with a deadline that no test reaches by accident.
pub(crate) fn limits() -> ReadLimits {
    ReadLimits {
        readers: 2,
        lookup_keys_max: 128,
        lookup_queue_max: 1024,
        op_timeout: PATIENCE,
        backlog_bytes_max: 64 << 20,
        key_bytes_max: 512,
        listers: 2,
        list_queue_max: 64,
        exports_max: 2,
        trust_forwarded_for: false,
        watches_max: 16,
        watch_snapshots: 2,
        watch_end_within: Duration::ZERO,
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("not so in time: {what}"));
}
