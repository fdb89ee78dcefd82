//! Programs of this machine: their paths, and the Docker client.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs the Docker client to its end. Returns its output.
///
/// # Errors
/// It failed, with its messages; or it is not installed.
pub fn docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("docker: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The path of a program, daemons included.
#[must_use]
pub fn program_path(name: &str) -> Option<PathBuf> {
    // In Debian, daemons are not in the PATH of an ordinary user.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
}
