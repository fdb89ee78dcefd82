//! Ports that no process uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux assigns by itself (32768 and up by default).
const PORTS: Range<u16> = 12_000..32_000;

/// An address of 127.0.0.1 that is free and stays free: the kernel assigns only ports above these, and this function assigns each one once
/// before it begins again. So a server can stop for a while and use its port again.
#[must_use]
pub fn free_port() -> SocketAddr {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
    let mut tried = std::iter::repeat_with(|| {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    });
    let free = tried.by_ref().take(PORTS.len()).find(|addr| TcpListener::bind(addr).is_ok());
    free.expect("a port is free")
}
