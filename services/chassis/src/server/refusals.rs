//! Responses sent without a request: the connection limit is reached, or the request took too long to arrive.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::problem::{Code, Problem};
use crate::server::ConnectionLimits;
use crate::telemetry::LogLimit;

/// How long a refused client may take to read its response.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Refuses the connections over the limit.
pub(crate) struct Refusals {
    connections_max: usize,
    /// Whether the port speaks plain HTTP. Over TLS, refused connections are closed without a response.
    is_plain: bool,
    /// One permit for each refusal under way.
    permits: Arc<Semaphore>,
    reply: Arc<[u8]>,
    /// An overload does not flood the log.
    log: LogLimit,
}

impl Refusals {
    pub(crate) fn new(limits: &ConnectionLimits, is_plain: bool) -> Self {
        Self {
            connections_max: limits.connections_max,
            is_plain,
            permits: Arc::new(Semaphore::new(limits.refusals_max)),
            reply: raw(Problem::new(Code::Overloaded, "too many connections")).into(),
            log: LogLimit::default(),
        }
    }

    pub(crate) fn refuse(&self, mut stream: TcpStream, tasks: &TaskTracker) {
        if let Some(left_out) = self.log.admit() {
            let connections_max = self.connections_max;
            tracing::warn!(connections_max, left_out, "refusing connections: too many are open");
        }
        if !self.is_plain {
            return;
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return;
        };
        let reply = Arc::clone(&self.reply);
        tasks.spawn(async move {
            let _permit = permit;
            // Closing with unread bytes resets the connection, and the client would lose the response: read them first.
            let farewell = async {
                stream.write_all(&reply).await?;
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            };
            // Whether the client read the response makes no difference here.
            let _ = timeout(REFUSAL_TIMEOUT, farewell).await;
        });
    }
}

/// A whole response as bytes, for connections that hyper does not drive.
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
