//! A proxy that serves a service under a path. It removes the path from each request before it forwards the request.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy};
use tokio::net::tcp::OwnedReadHalf;
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
                // A client may close its connection at any time.
                connections.spawn(async move { drop(forward(client, server, path).await) });
            }
        });
        Self { addr, _tasks: tasks }
    }
}

/// Forwards requests one after another. What follows the handshake of a socket is forwarded as it comes.
async fn forward(client: TcpStream, server: SocketAddr, path: &str) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let mut from_client = BufReader::new(from_client);
    let requests = async {
        while let Some(head) = read_head(&mut from_client).await? {
            let Some(head) = without_path(&head, path) else { return std::io::Result::Ok(true) };
            to_server.write_all(head.as_bytes()).await?;
            if head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
                copy(&mut from_client, &mut to_server).await?;
            }
        }
        Ok(false)
    };
    let is_outside = tokio::select! {
        outside = requests => outside?,
        copied = copy(&mut from_server, &mut to_client) => return copied.map(drop),
    };
    if is_outside {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        to_client.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The head of the next request, which has no body. `None`: the client has closed the connection.
async fn read_head(from_client: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from_client.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// `head` without `path` at the beginning of its target. `None`: the target is not below `path`.
fn without_path(head: &str, path: &str) -> Option<String> {
    let (method, rest) = head.split_once(' ').expect("a request line");
    let target = rest.strip_prefix(path).filter(|target| target.starts_with(['/', ' ']))?;
    let slash = if target.starts_with(' ') { "/" } else { "" };
    Some(format!("{method} {slash}{target}"))
}
