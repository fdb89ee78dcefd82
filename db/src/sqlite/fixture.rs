//! A store for tests.

use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::connect::Sqlite;
use crate::engine::{DatabaseUsers, Engine as _};

/// An empty store in a folder of its own, which is removed in the end.
#[derive(Debug)]
pub(crate) struct TestStore {
    pub(crate) url: String,
    pub(crate) engine: Sqlite,
    /// A connection to the file that is none of the store's.
    pub(crate) other: SqliteConnection,
    _folder: TempDir,
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let engine = Sqlite::new(&url).expect("the URL is valid");
        engine.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
        let other = SqliteConnection::connect(&url).await.expect("it opens");
        Self { url, engine, other, _folder: folder }
    }
}
