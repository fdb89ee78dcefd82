//! A stream of events, read as cheaply as possible: beside the services on one machine, the client must take little of it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many bytes are read at once.
const READ_BYTES: usize = 1024;

/// An open stream. HTTP/1.0 has no chunks, so its bytes are those of the events.
pub(super) struct Stream {
    stream: TcpStream,
    /// What is read and not consumed.
    unread: Vec<u8>,
}

impl Stream {
    /// Opens a watch, and reads until it is live.
    pub(super) async fn open(at: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        stream.set_nodelay(true).expect("an open socket");
        let request = format!("GET /watch?snapshot=false&{query} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("an open connection");
        let mut open = Self { stream, unread: Vec::new() };
        loop {
            let line = open.line().await;
            assert!(!line.starts_with("HTTP/") || line.contains(" 200 "), "{line}");
            if line == "event: ready" {
                return open;
            }
        }
    }

    /// The next line.
    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            self.read().await;
        }
    }

    /// Reads more bytes. Returns how many.
    pub(super) async fn read(&mut self) -> usize {
        self.unread.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.unread).await.expect("an open connection");
        assert!(count > 0, "the stream has ended");
        count
    }

    /// Takes the whole lines that were read, and calls `on_line` for each.
    pub(super) fn lines(&mut self, mut on_line: impl FnMut(&[u8])) {
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else { return };
        self.unread[..end].split(|byte| *byte == b'\n').for_each(&mut on_line);
        self.unread.drain(..=end);
    }
}
