//! Other durable key-value stores with HTTP, from Debian's packages.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use e2e::{free_port, program_path};
use serde_json::json;
use tempfile::TempDir;

use crate::http::{listens, requests};

/// A running store.
#[derive(Debug)]
pub(crate) struct OtherStore {
    pub(crate) kind: OtherStoreKind,
    at: SocketAddr,
    children: Vec<Child>,
    _folder: TempDir,
}

/// The kind of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherStoreKind {
    /// webdis in front of Redis, whose log is synced at every write.
    Webdis,
    /// etcd with its HTTP gateway.
    Etcd,
}

impl OtherStore {
    /// Starts it; `None` if it is not installed.
    pub(crate) async fn start(kind: OtherStoreKind) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (at, children) = match kind {
            OtherStoreKind::Webdis => {
                let (redis, webdis) = (program_path("redis-server")?, program_path("webdis")?);
                let (store, front) = (free_port(), free_port());
                let mut command = quiet(redis);
                command.args(["--bind", "127.0.0.1", "--port", &store.port().to_string(), "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder.path());
                let redis = command.spawn().expect("redis-server can be started");
                listens(store).await;
                let config = json!({
                    "redis_host": "127.0.0.1", "redis_port": store.port(), "http_host": "127.0.0.1",
                    "http_port": front.port(), "threads": 2, "pool_size": 8, "daemonize": false,
                    "database": 0, "acl": [], "verbosity": 0, "logfile": folder.path().join("log"),
                });
                let file = folder.path().join("webdis.json");
                std::fs::write(&file, config.to_string()).expect("a file can be written");
                (front, vec![redis, quiet(webdis).arg(&file).spawn().expect("webdis can be started")])
            }
            OtherStoreKind::Etcd => {
                let (client, other_store) = (free_port(), free_port());
                let mut command = quiet(program_path("etcd")?);
                command.arg("--data-dir").arg(folder.path().join("data"));
                for option in ["--listen-client-urls", "--advertise-client-urls"] {
                    command.arg(option).arg(format!("http://{client}"));
                }
                for option in ["--listen-other_store-urls", "--initial-advertise-other_store-urls"] {
                    command.arg(option).arg(format!("http://{other_store}"));
                }
                command.arg("--initial-cluster").arg(format!("default=http://{other_store}"));
                (client, vec![command.spawn().expect("etcd can be started")])
            }
        };
        listens(at).await;
        let other_store = Self { kind, at, children, _folder: folder };
        // Reads must find a value.
        other_store.sets(64, 2.0).await;
        Some(other_store)
    }

    /// Sets per second.
    pub(crate) async fn sets(&self, connections: u64, seconds: f64) -> f64 {
        let kind = self.kind;
        requests(self.at, connections, seconds, move |key, draw| {
            let value = format!("{draw:020}").repeat(5);
            match kind {
                OtherStoreKind::Webdis => post_or_put("PUT", &format!("/SET/{key}"), &value),
                OtherStoreKind::Etcd => {
                    let body = format!(r#"{{"key":"{}","value":"{}"}}"#, base64(key), base64(&value));
                    post_or_put("POST", "/v3/kv/put", &body)
                }
            }
        })
        .await
    }

    /// Gets per second.
    pub(crate) async fn gets(&self, connections: u64, seconds: f64) -> f64 {
        let kind = self.kind;
        requests(self.at, connections, seconds, move |key, _| match kind {
            OtherStoreKind::Webdis => format!("GET /GET/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            OtherStoreKind::Etcd => {
                post_or_put("POST", "/v3/kv/range", &format!(r#"{{"key":"{}"}}"#, base64(key)))
            }
        })
        .await
    }
}

impl Drop for OtherStore {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn quiet(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn post_or_put(method: &str, path: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
