//! What a client is told that cannot have a connection, or loses it before its request is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::problem::{Code, Problem};

/// Connections over the cap that are told so at the same time; the rest are just closed.
const REFUSALS_MAX: usize = 256;
/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells clients over the cap that they are.
pub(crate) struct Refusals {
    connections_max: usize,
    /// Whether clients understand what is not encrypted; if not, they are just let go.
    in_clear: bool,
    /// One per refusal under way.
    places: Arc<Semaphore>,
    reply: Arc<[u8]>,
    /// When it was last logged: an overload must not flood the log too.
    logged: Option<Instant>,
}

impl Refusals {
    pub(crate) fn new(connections_max: usize, in_clear: bool) -> Self {
        Self {
            connections_max,
            in_clear,
            places: Arc::new(Semaphore::new(REFUSALS_MAX)),
            reply: raw(Problem::new(Code::Overloaded, "too many connections")).into(),
            logged: None,
        }
    }

    pub(crate) fn refuse(&mut self, mut stream: TcpStream, tasks: &TaskTracker) {
        if self.logged.is_none_or(|logged| logged.elapsed() > Duration::from_secs(10)) {
            self.logged = Some(Instant::now());
            tracing::warn!(connections_max = self.connections_max, "refusing connections over the cap");
        }
        if !self.in_clear {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let reply = Arc::clone(&self.reply);
        tasks.spawn(async move {
            let _place = place;
            // Closing on unread bytes resets the connection, and the client would lose the answer: read them first.
            let farewell = async {
                stream.write_all(&reply).await?;
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            };
            // Whether it was heard makes no difference here.
            let _ = timeout(REFUSAL_TIMEOUT, farewell).await;
        });
    }
}

/// A whole reply, for connections that hyper does not drive.
pub(crate) fn raw(problem: Problem) -> Vec<u8> {
    let body = problem.body();
    let response = problem.into_response();
    let mut text = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let rest = format!(
        "x-content-type-options: nosniff\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    text.extend_from_slice(rest.as_bytes());
    text
}
