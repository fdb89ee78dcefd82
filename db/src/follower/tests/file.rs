//! A file of `SQLite` whose rows are written as no writer would be asked to, and what a follower finds there.

use std::ops::ControlFlow;

use crate::changes::LanePosition;
use crate::changes::keys::pack;
use crate::entry::{KEY_BYTES_MAX, Key};
use crate::follower::{Content, Follower, FoundRow, LogSnapshot, Values};
use crate::row::RowError;
use crate::scanner::range::Range;
use crate::sqlite::fixture::TestStore;
use crate::store::Store;

pub(super) const FAR: i64 = i64::MAX;
/// The lane whose log [`File::log`] writes.
pub(super) const LANE: u64 = 7;

/// What a row says, as values that stay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Live(String, u64, Option<String>, Option<u64>),
    Deleted(String, u64),
    Expired(String, u64),
    LeftOut(String, usize),
    Damaged(Vec<u8>),
}

pub(super) struct File(pub(super) TestStore);

impl File {
    pub(super) async fn new() -> Self {
        Self(TestStore::new().await)
    }

    pub(super) async fn follower(&self) -> Follower {
        let store = Store::new(&self.0.url, None, false).expect("the URL is valid");
        store.follower().await.expect("it opens")
    }

    pub(super) async fn run(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0.other).await.expect("it is valid");
    }

    pub(super) async fn add(&mut self, key: &[u8], value: &[u8], rev: i64, expires_at: Option<i64>) {
        let add = sqlx::query("insert into entries (k, v, rev, born, expires_at) values (?, ?, ?, 1, ?)");
        let add = add.bind(key).bind(value).bind(rev).bind(expires_at);
        add.execute(&mut self.0.other).await.expect("it is valid");
    }

    pub(super) async fn add_lane(&mut self, lane: LanePosition) {
        let number = |number: u64| i64::try_from(number).expect("it is small");
        let add = sqlx::query("insert into writers (id, seq, rev, logged) values (?, ?, ?, ?)");
        let add = add.bind(number(lane.id)).bind(number(lane.seq)).bind(number(lane.rev)).bind(lane.logs);
        add.execute(&mut self.0.other).await.expect("it is valid");
    }

    pub(super) async fn log(&mut self, seq: i64, part: i64, ks: &[u8]) {
        let log = sqlx::query("insert into changes (lane, seq, part, at, ks) values (7, ?, ?, 1, ?)");
        log.bind(seq).bind(part).bind(ks).execute(&mut self.0.other).await.expect("it is valid");
    }
}

impl Found {
    pub(super) fn new(row: Result<FoundRow<'_>, RowError>) -> Self {
        match row {
            Ok(FoundRow { key, rev, content }) => match content {
                Content::Live { value, expires_at } => {
                    Self::Live(key.into(), rev.0, value.map(Into::into), expires_at)
                }
                Content::Deleted => Self::Deleted(key.into(), rev.0),
                Content::Expired => Self::Expired(key.into(), rev.0),
            },
            Err(RowError::LeftOut { key, bytes }) => Self::LeftOut(key, bytes),
            Err(RowError::Damaged(row)) => Self::Damaged(row.key().into()),
        }
    }

    pub(super) fn live(key: &str, rev: u64, value: &str) -> Self {
        Self::Live(key.into(), rev, Some(value.into()), None)
    }
}

pub(super) fn keys(keys: &[&str]) -> Vec<Key> {
    keys.iter().map(|&key| Key::new(key.into(), KEY_BYTES_MAX).expect("it is short")).collect()
}

pub(super) fn part(keys: &[&str]) -> Vec<u8> {
    pack(keys.iter().map(|key| key.as_bytes()), 1000).remove(0)
}

/// The rows of `asked`, in the order of their texts.
pub(super) async fn rows(snapshot: &mut LogSnapshot<'_>, asked: &[&str], values: Values) -> Vec<Found> {
    let mut found = Vec::new();
    let read = snapshot.rows(&keys(asked), values, |row| found.push(Found::new(row))).await;
    read.expect("they can be read");
    found.sort_by_key(|row| format!("{row:?}"));
    found
}

/// The first `limit` rows of everything.
pub(super) async fn first(snapshot: &mut LogSnapshot<'_>, limit: usize, values: Values) -> Vec<Found> {
    let mut found = Vec::new();
    let all = Range::new(String::new());
    let count = snapshot.range(&all, limit, values, |row| {
        found.push(Found::new(row));
        ControlFlow::Continue(())
    });
    assert_eq!(count.await.expect("they can be read"), found.len());
    found
}

/// The lane of these tests, with nothing removed from its log.
pub(super) fn lane(seq: u64, rev: u64) -> LanePosition {
    LanePosition { id: LANE, seq, rev, logs: true, removed: 0 }
}

/// Up to `rows_max` rows of the log after `after`: their keys, and the last row.
pub(super) async fn log(
    snapshot: &mut LogSnapshot<'_>,
    after: (u64, u16),
    rows_max: usize,
) -> (Vec<(u64, String)>, Option<(u64, u16)>) {
    let mut found = Vec::new();
    let changes =
        snapshot.changes(LANE, after, rows_max, |seq, key| found.push((seq, key.as_str().to_owned()))).await;
    (found, changes.expect("they can be read"))
}
