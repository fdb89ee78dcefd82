//! The health check of a container: asks the admin port of a process on this machine.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::process::terminal::say;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks `/readyz`. Exit code 0 if the process is ready; otherwise 1, and the reason on stderr. Blocks for a few seconds at most.
#[must_use]
pub fn check(admin_addr: SocketAddr) -> ExitCode {
    match ask(reachable(admin_addr)) {
        Ok(response) if response.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(response) => {
            let reason = response.split_once("\r\n\r\n").map_or("no response", |(_, body)| body.trim());
            say(format_args!("not ready: {reason}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format_args!("cannot reach {admin_addr}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The address to connect to: the loopback address if the port listens on all addresses.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, addr.port())
}

fn ask(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}
