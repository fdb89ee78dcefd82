//! The database engines, and which of them a test run can use.

use sqlx::{Connection as _, MySqlConnection};
use tokio::sync::OnceCell;
use url::Url;

/// A database engine that the services support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// A file without a server. Always available.
    Sqlite,
    /// The server in Debian.
    MariaDb,
    /// The engine that Keywire is made for.
    MySql,
}

/// A server that all tests of a run share.
#[derive(Debug, Clone)]
struct SharedServer {
    engine: EngineKind,
    /// Its URL, as its root user.
    url: Url,
}

static SERVERS: OnceCell<Vec<SharedServer>> = OnceCell::const_new();

impl EngineKind {
    /// Whether this run can use the engine.
    ///
    /// # Errors
    /// No URL in `TEST_DATABASE_URL` leads to a server of this kind.
    pub async fn available(self) -> Result<(), String> {
        match self {
            Self::Sqlite => Ok(()),
            Self::MariaDb | Self::MySql => self.found().await.map(drop).ok_or_else(|| {
                "no URL in TEST_DATABASE_URL is a server of this engine (tests/run starts one)".into()
            }),
        }
    }

    /// The URL of the shared server of this engine, as its root user.
    pub(crate) async fn url(self) -> Url {
        self.found().await.expect("asked only of an engine that is available")
    }

    async fn found(self) -> Option<Url> {
        let found = SERVERS.get_or_init(look).await;
        found.iter().find(|server| server.engine == self).map(|server| server.url.clone())
    }
}

/// The servers at the URLs in `TEST_DATABASE_URL`, which are separated by commas.
async fn look() -> Vec<SharedServer> {
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
        let engine = if version.contains("MariaDB") { EngineKind::MariaDb } else { EngineKind::MySql };
        found.push(SharedServer { engine, url });
    }
    found
}
