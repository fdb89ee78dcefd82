//! The database engines, and which of them a run has.

use sqlx::{Connection as _, MySqlConnection};
use tokio::sync::OnceCell;
use url::Url;

/// An engine the product runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file, no server; always there.
    Sqlite,
    /// The server that Debian ships.
    MariaDb,
    /// The system of record.
    MySql,
}

/// A server of a run, shared by its tests.
#[derive(Debug, Clone)]
struct Found {
    engine: Engine,
    /// As its root.
    url: Url,
}

static FOUND: OnceCell<Vec<Found>> = OnceCell::const_new();

impl Engine {
    /// Whether this run has the engine; `Err` says why not.
    ///
    /// # Errors
    /// No URL in `TEST_DATABASE_URL` leads to a server of this kind.
    pub async fn available(self) -> Result<(), String> {
        match self {
            Self::Sqlite => Ok(()),
            Self::MariaDb | Self::MySql => self.found().await.map(drop).ok_or_else(|| {
                "no URL in TEST_DATABASE_URL leads to such a server (tests/run starts one)".into()
            }),
        }
    }

    /// The shared server of this engine, as its root.
    pub(crate) async fn url(self) -> Url {
        self.found().await.expect("asked only of an engine that is available")
    }

    async fn found(self) -> Option<Url> {
        let found = FOUND.get_or_init(look).await;
        found.iter().find(|server| server.engine == self).map(|server| server.url.clone())
    }
}

/// Asks each URL of `TEST_DATABASE_URL` (commas between them) what it is.
async fn look() -> Vec<Found> {
    let mut found = Vec::new();
    let urls = std::env::var("TEST_DATABASE_URL").unwrap_or_default();
    for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let url = Url::parse(url).expect("TEST_DATABASE_URL holds mysql:// URLs");
        let mut root = MySqlConnection::connect(url.as_str())
            .await
            .unwrap_or_else(|error| panic!("TEST_DATABASE_URL: no answer: {error}"));
        let version: String = sqlx::query_scalar("select cast(version() as char)")
            .fetch_one(&mut root)
            .await
            .expect("a server knows its version");
        let engine = if version.contains("MariaDB") { Engine::MariaDb } else { Engine::MySql };
        found.push(Found { engine, url });
    }
    found
}
