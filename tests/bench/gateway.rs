//! The gateway with its shipped configuration, in front of one pair. Only the addresses of its servers differ.

use std::net::SocketAddr;
use std::path::Path;

use e2e::{ServiceProcess, docker, free_port};
use tempfile::TempDir;

use crate::http::listens;

const IMAGE: &str = "haproxy:3.2";

/// A gateway in a container on the network of this machine.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) at: SocketAddr,
    name: String,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it in front of these servers. `None` without a Docker engine or without the image.
    pub(crate) async fn start(writers: &[&ServiceProcess], readers: &[&ServiceProcess]) -> Option<Self> {
        if let Err(missing) = docker(&["image", "inspect", IMAGE]) {
            eprintln!("bench: without the gateway: {missing}");
            return None;
        }
        let (at, admin) = (free_port(), free_port());
        let folder = tempfile::tempdir().expect("a folder can be made");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/gateway");
        let config =
            std::fs::read_to_string(shipped.join("haproxy.cfg")).expect("the gateway's configuration");
        let config = config
            .replace(
                "server-template writer 10 ws-ingest:8001 resolvers docker init-addr none",
                &servers("writer", writers),
            )
            .replace(
                "server-template reader 10 rest-read:8002 resolvers docker init-addr none",
                &servers("reader", readers),
            )
            .replace("bind :8000", &format!("bind {at}"))
            .replace("bind :8404", &format!("bind {admin}"));
        std::fs::write(folder.path().join("haproxy.cfg"), config).expect("a file can be written");
        let name = format!("keywire-bench-{}-{}", std::process::id(), at.port());
        let file =
            format!("{}:/usr/local/etc/haproxy/haproxy.cfg:ro", folder.path().join("haproxy.cfg").display());
        let errors = shipped.canonicalize().expect("the gateway's folder").join("errors");
        let errors = format!("{}:/usr/local/etc/haproxy/errors:ro", errors.display());
        let run = ["run", "--detach", "--rm", "--network", "host", "--user", "0", "--ulimit", "nofile=20000"];
        let more =
            ["--env", "CONNECTIONS_MAX=9000", "--name", &name, "--volume", &file, "--volume", &errors, IMAGE];
        docker(&[&run[..], &more[..]].concat()).expect("a container can be started");
        let gateway = Self { at, name, _folder: folder };
        listens(at).await;
        e2e::eventually("the gateway finds its pair", e2e::PATIENCE, async || {
            match e2e::get(admin, "/readyz").await.status {
                200 => Ok(()),
                status => Err(format!("{status}")),
            }
        })
        .await;
        Some(gateway)
    }
}

/// One server line for each. The gateway asks its admin port whether it is ready.
fn servers(name: &str, processes: &[&ServiceProcess]) -> String {
    let server = |(number, process): (usize, &&ServiceProcess)| {
        format!("server {name}{number} {} port {}", process.public, process.admin.port())
    };
    let servers: Vec<String> = processes.iter().enumerate().map(server).collect();
    servers.join("\n    ")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(docker(&["rm", "--force", &self.name]));
    }
}
