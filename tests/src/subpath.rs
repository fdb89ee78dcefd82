//! A proxy that serves a service under a path, and takes the path away before it forwards a request.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The proxy, on a port of its own. Dropping it closes every connection.
#[derive(Debug)]
pub struct SubpathProxy {
    /// The address that it listens on.
    pub addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl SubpathProxy {
    /// Forwards requests for `path` and everything below to `server`. `path` has no slash at its end. Other requests get a 404.
    pub async fn start(server: SocketAddr, path: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("clients can be accepted");
                // A browser may break off a connection at any time.
                connections.spawn(async move { drop(forward(client, server, path).await) });
            }
        });
        Self { addr, _tasks: tasks }
    }
}

/// Forwards one request, and everything that follows if it opens a socket.
async fn forward(client: TcpStream, server: SocketAddr, path: &str) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let (mut head, mut is_upgrade) = (String::new(), false);
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let name = line.to_ascii_lowercase();
        is_upgrade |= name.starts_with("upgrade:");
        if line == "\r\n" {
            break;
        }
        if !name.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let (method, rest) = head.split_once(' ').expect("a request line");
    let Some(target) = rest.strip_prefix(path).filter(|rest| rest.starts_with(['/', ' '])) else {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    };
    let slash = if target.starts_with(' ') { "/" } else { "" };
    // One request for each connection, so that only one head must be changed.
    let connection = if is_upgrade { "Upgrade" } else { "close" };
    let head = format!("{method} {slash}{target}Connection: {connection}\r\n\r\n");
    let mut server = TcpStream::connect(server).await?;
    server.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
