//! A server on a free port, and a client that sees every byte.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::access::Access;
use chassis::edge::fast_path::{FastPath, NoFastPath};
use chassis::edge::origin::OriginRule;
use chassis::edge::{Unmeasured, edge};
use chassis::peer::Peer;
use chassis::problem::{Code, Problem};
use chassis::process::stop::Stop;
use chassis::server::tls::Tls;
use chassis::server::{ConnectionLimits, bind, serve};
use chassis::telemetry::{ResourceAttributes, Telemetry};
use futures_util::{StreamExt as _, stream};
use poem::endpoint::{make, make_sync};
use poem::error::InternalServerError;
use poem::http::StatusCode;
use poem::{Body, Endpoint, Request, Response, Result, Route, get};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The result of `future`. Fails the test after 10 s.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(10), future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within 10 s"))
}

/// A running server of `app`, and its controls.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    /// The stop signal of `serve`.
    pub(crate) stop: Stop,
    /// The stop signal of the edge. A process has one signal for both.
    pub(crate) edge_stop: Stop,
    pub(crate) telemetry: Telemetry,
    /// Ends when `serve` has returned.
    pub(crate) task: JoinHandle<()>,
    /// `/slow` answers once this is true.
    pub(crate) gate: watch::Sender<bool>,
    /// The number of requests that have reached `/slow`.
    pub(crate) waiting: watch::Receiver<u32>,
}

impl TestServer {
    pub(crate) async fn start(limits: ConnectionLimits) -> Self {
        Self::with(limits, OriginRule::default()).await
    }

    pub(crate) async fn with(limits: ConnectionLimits, origin: OriginRule) -> Self {
        Self::beside(NoFastPath, limits, origin).await
    }

    /// A server whose plain requests `fast_path` may answer.
    pub(crate) async fn beside(
        fast_path: impl FastPath,
        limits: ConnectionLimits,
        origin: OriginRule,
    ) -> Self {
        Self::over(None, fast_path, limits, origin).await
    }

    /// A server whose port speaks TLS, if `tls` is given.
    pub(crate) async fn over(
        tls: Option<Tls>,
        fast_path: impl FastPath,
        limits: ConnectionLimits,
        origin: OriginRule,
    ) -> Self {
        let (gate, opened) = watch::channel(false);
        let (arrived, waiting) = watch::channel(0);
        let (stop, telemetry) =
            (Stop::new(), Telemetry::new("test", None, &ResourceAttributes::default()).expect("metrics"));
        let edge_stop = Stop::new();
        let app = edge(app(opened, arrived), origin, Access::default(), &telemetry, edge_stop.clone())
            .with_get_only(&["/silent"])
            .with_fast_path(fast_path);
        let addr = "127.0.0.1:0".parse().expect("an address");
        let listener = bind(addr).await.expect("a free port");
        let addr = listener.local_addr().expect("it is open");
        let until = stop.clone();
        let task = tokio::spawn(async move { serve(listener, tls, app, &limits, &until).await });
        Self { addr, stop, edge_stop, telemetry, task, gate, waiting }
    }

    pub(crate) async fn connect(&self) -> TestClient {
        TestClient(TcpStream::connect(self.addr).await.expect("it listens"))
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(request).await;
        client.reply().await
    }
}

fn app(opened: watch::Receiver<bool>, arrived: watch::Sender<u32>) -> impl Endpoint {
    let slow = make(move |_| {
        let mut opened = opened.clone();
        arrived.send_modify(|count| *count += 1);
        async move {
            let answer = opened.wait_for(|open| *open).await;
            answer.map(|_| "done").map_err(InternalServerError)
        }
    });
    let echo = make_sync(|request: Request| request.path_params::<String>());
    let broken = make_sync(|_| Err::<(), _>(InternalServerError(std::io::Error::other("secret sql"))));
    let refused = make_sync(|_| Err::<(), _>(Problem::new(Code::Overloaded, "busy")));
    let halting = make_sync(|_| {
        let parts = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"begun"))]);
        Response::builder().body(Body::from_bytes_stream(parts.chain(stream::pending())))
    });
    // Sends its head, and then nothing.
    let silent = make_sync(|_| {
        let body = Body::from_bytes_stream(stream::pending::<std::io::Result<Bytes>>());
        let mut response = Response::builder().body(body);
        response.set_data(Unmeasured);
        response
    });
    let own_methods = make_sync(|_| {
        Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header("allow", "PUT").finish()
    });
    let endless = make_sync(|_| Response::builder().body(vec![b'x'; 32 << 20]));
    Route::new()
        .at("/keys/:key", get(echo))
        .at("/upgrade", get(make(upgrade)))
        .at("/slow", get(slow))
        .at("/never", get(make(|_| pending::<Response>())))
        .at("/panic", get(make_sync(|_| -> Response { panic!("on purpose") })))
        .at("/broken", get(broken))
        .at("/refused", get(refused))
        .at("/large", get(endless))
        .at("/patient/:milliseconds/:bytes", get(make_sync(|request| patient(&request))))
        .at("/halting", get(halting))
        .at("/silent", get(silent))
        .at("/own_methods", own_methods)
        .at("/unchanged", get(make_sync(|_| StatusCode::NOT_MODIFIED)))
}

/// A body of so many bytes, which may wait so long for its client.
fn patient(request: &Request) -> Result<Response> {
    let (milliseconds, bytes) = request.path_params::<(u64, usize)>()?;
    let peer = request.extensions().get::<Arc<Peer>>().expect("the server puts it there");
    peer.set_write_timeout(Duration::from_millis(milliseconds));
    Ok(Response::builder().body(vec![b'x'; bytes]))
}

/// Holds the socket until the client closes it.
async fn upgrade(request: Request) -> Result<Response> {
    let upgrade = request.take_upgrade()?;
    tokio::spawn(async move {
        let mut socket = upgrade.await.expect("an upgraded socket");
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    Ok(response.header("connection", "upgrade").finish())
}

/// A connection that sends any bytes.
pub(crate) struct TestClient<S = TcpStream>(pub(crate) S);

/// A response: the head in lower case, and the body of the length in the head.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TestClient<S> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", self.0.write_all(bytes.as_ref())).await.expect("the server reads");
    }

    /// Closes the sending side.
    pub(crate) async fn half_close(&mut self) {
        soon("closing", self.0.shutdown()).await.expect("the connection is open");
    }

    /// The next reply. Reads no byte past it.
    pub(crate) async fn reply(&mut self) -> Reply {
        let head = self.head().await;
        let mut reply = Reply { head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |value| value.parse().expect("a number"));
        let mut body = vec![0; length];
        soon("a body", self.0.read_exact(&mut body)).await.expect("the whole body");
        reply.body = String::from_utf8(body).expect("text");
        reply
    }

    /// The head of the next reply. A reply to HEAD has nothing else.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("a head", self.0.read_u8()).await.expect("the whole head"));
        }
        String::from_utf8(head).expect("text").to_lowercase()
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon("the end", self.0.read_to_string(&mut rest)).await.expect("a proper end");
        rest
    }
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1).expect("a status line");
        status.parse().expect("a status")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(known, value)| (known == name).then_some(value))
    }

    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        let end = format!(r#","status":{status},"code":"{code}"}}"#);
        assert!(self.body.starts_with(r#"{"message":""#) && self.body.ends_with(&end), "{self:?}");
    }
}
