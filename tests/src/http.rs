//! An HTTP/1.1 client that sends exactly the given bytes and shows exactly the bytes that come back.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::patience::{PATIENCE, within};

/// A response, as received.
#[derive(Debug, Clone)]
pub struct Response {
    /// The number in the status line.
    pub status: u16,
    /// The header fields in the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body. Empty for HEAD.
    pub body: String,
}

impl Response {
    /// The value of a header field, which must not be there twice.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {:?}", self.headers);
        value
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is an error response of the contract with `status` and `code`.
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{self:?}");
        let message = problem["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "an error has a sentence: {self:?}");
        let start = format!("{{\"message\":{},\"status\":{status},\"code\":", problem["message"]);
        assert!(self.body.starts_with(&start), "members in the contract's order: {self:?}");
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
    }
}

/// A connection that is kept open between requests.
#[derive(Debug)]
pub struct HttpConnection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl HttpConnection {
    /// Connects to `addr`.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::try_open(addr).await.unwrap_or_else(|error| panic!("no connection to {addr}: {error}"))
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub async fn try_open(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = within("connecting", PATIENCE, TcpStream::connect(addr)).await?;
        Self::over(stream, addr)
    }

    /// Connects to `addr` from the address `source` of this machine. The whole network 127.0.0.0/8 belongs to it.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub async fn try_open_from(source: IpAddr, addr: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = within("connecting", PATIENCE, socket.connect(addr)).await?;
        Self::over(stream, addr)
    }

    fn over(stream: TcpStream, addr: SocketAddr) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: addr.to_string() })
    }

    /// A GET of `target`. `target` is sent as it is.
    pub async fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[]).await
    }

    /// One request with these header lines, and a `Host` line if there is none among them.
    pub async fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        self.try_request(method, target, headers)
            .await
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// One request on a connection that may break.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<Response> {
        let head = self.head(method, target, headers);
        let exchange = async {
            self.stream.write_all(head.as_bytes()).await?;
            self.read(method == "HEAD").await
        };
        within(&format!("{method} {target}"), PATIENCE, exchange).await
    }

    /// The head of a request with these header lines, and a `Host` line if there is none among them.
    fn head(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            write!(head, "Host: {}\r\n", self.host).expect("a string takes it");
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes it");
        }
        head.push_str("\r\n");
        head
    }

    /// Sends a request and does not read its response.
    pub async fn send(&mut self, method: &str, target: &str) {
        self.send_with(method, target, &[]).await;
    }

    /// Sends a request with these header lines and does not read its response.
    pub async fn send_with(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let head = self.head(method, target, headers);
        self.stream.write_all(head.as_bytes()).await.expect("the connection is open");
    }

    /// Waits until a response begins to arrive, and does not read it.
    pub async fn begun(&mut self) {
        let begun = within("a response begins", PATIENCE, self.stream.fill_buf()).await;
        assert!(!begun.expect("the connection is open").is_empty(), "the connection was closed");
    }

    /// Sends a last request, and closes the sending side.
    pub async fn half_close(&mut self, method: &str, target: &str) {
        self.send(method, target).await;
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// The next response.
    pub async fn response(&mut self) -> Response {
        self.try_response().await.expect("the connection is open")
    }

    /// The next response.
    ///
    /// # Errors
    /// The connection broke. A body that ends before it is complete is an unexpected end of file.
    pub async fn try_response(&mut self) -> std::io::Result<Response> {
        within("a response", PATIENCE, self.read(false)).await
    }

    /// Sends a request and reads the head of its response. If the body is chunked, [`HttpConnection::chunk`] reads it.
    pub(crate) async fn try_begin(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<Response> {
        let head = self.head("GET", target, headers);
        let exchange = async {
            self.stream.write_all(head.as_bytes()).await?;
            self.response_head().await
        };
        within(&format!("a response to GET {target} begins"), PATIENCE, exchange).await
    }

    async fn read(&mut self, is_head: bool) -> std::io::Result<Response> {
        let mut response = self.response_head().await?;
        if !is_head && !matches!(response.status, 101 | 204 | 304) {
            self.read_body(&mut response).await?;
        }
        Ok(response)
    }

    /// A response without its body.
    async fn response_head(&mut self) -> std::io::Result<Response> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: String::new() })
    }

    /// Reads the body of a response that has one.
    pub(crate) async fn read_body(&mut self, response: &mut Response) -> std::io::Result<()> {
        let mut body = Vec::new();
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await? {
                body.extend_from_slice(&chunk);
            }
        } else {
            let length = response.header("content-length").and_then(|length| length.parse().ok());
            body.resize(length.unwrap_or_else(|| panic!("no length: {response:?}")), 0);
            self.stream.read_exact(&mut body).await?;
        }
        response.body = String::from_utf8(body).expect("a body is UTF-8");
        Ok(())
    }

    /// The next chunk of a chunked body. `None` after the last one.
    pub(crate) async fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no size: {size:?}"));
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).await?;
        assert_eq!(self.line().await?, "", "a chunk ends with a line end");
        Ok((size > 0).then_some(chunk))
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

/// One GET on a connection of its own.
pub async fn get(addr: SocketAddr, target: &str) -> Response {
    HttpConnection::open(addr).await.get(target).await
}

/// The path that reads `key`. Every byte with a meaning in a URL is percent-encoded.
#[must_use]
pub fn storage(key: &str) -> String {
    format!("/storage/{}", encoded(key))
}

/// `text`, percent-encoded for a path or a query.
#[must_use]
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string takes it"),
        }
    }
    out
}
