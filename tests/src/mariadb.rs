//! A process of `MariaDB` with files of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::program_path;

/// The argument that names the user of the server. Without it the server refuses to run as root.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id can be run");
    format!("--user={}", String::from_utf8_lossy(&output.stdout).trim())
}

/// Creates the files of a server in `data`. Temporary files go into `folder`.
pub(crate) fn install(folder: &Path, data: &Path) {
    let output = Command::new("mariadb-install-db")
        .env("TMPDIR", folder)
        .args(["--no-defaults", &user(), "--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--skip-name-resolve"])
        .arg(format!("--datadir={}", data.display()))
        .output()
        .expect("mariadb-install-db can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a server on `data` that listens on 127.0.0.1. Its log and temporary files go into `folder`.
pub(crate) fn start(folder: &Path, data: &Path, port: u16, args: &[String]) -> Child {
    let log = std::fs::File::create(folder.join("server.log")).expect("a file can be made");
    Command::new(program_path("mariadbd").expect("mariadbd is installed"))
        // In a shared folder, a server that starts would remove the temporary tables of all others.
        .env("TMPDIR", folder)
        .args(["--no-defaults", &user(), "--skip-name-resolve", "--bind-address=127.0.0.1"])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", data.join("sock").display()))
        .arg(format!("--port={port}"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mariadbd can be started")
}
