//! An HTTP load for other stores: one request after the other on each connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::ours::KEYS;

/// Requests per second on `connections` connections, for `seconds`. `request` makes the request for a key.
pub(crate) async fn requests(
    at: SocketAddr,
    connections: u64,
    seconds: f64,
    request: impl Fn(&str, u64) -> String + Send + Sync + 'static,
) -> f64 {
    let request = Arc::new(request);
    let mut open = Vec::new();
    for number in 0..connections {
        let stream = TcpStream::connect(at).await.expect("it listens");
        stream.set_nodelay(true).expect("an open socket");
        open.push((number, stream));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, mut stream) in open {
        let request = Arc::clone(&request);
        tasks.spawn(async move {
            let mut rng = SmallRng::seed_from_u64(number);
            let (mut answer, mut done) = (Vec::new(), 0u32);
            while begun.elapsed().as_secs_f64() < seconds {
                let key = format!("bench:{:08}", rng.random_range(0..KEYS));
                let request = request(&key, rng.random());
                stream.write_all(request.as_bytes()).await.expect("an open connection");
                answered(&mut stream, &mut answer).await;
                done += 1;
            }
            done
        });
    }
    let done: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(done) / begun.elapsed().as_secs_f64()
}

/// Reads one response, which must be a 200 with a length.
async fn answered(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    answer.clear();
    loop {
        let read = stream.read_buf(answer).await.expect("an open connection");
        assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(answer));
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(begin)) = head.parse(answer) else { continue };
        assert_eq!(head.code, Some(200), "{}", String::from_utf8_lossy(answer));
        let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|length| str::from_utf8(length.value).ok()?.parse::<usize>().ok());
        if answer.len() >= begin + length.expect("an answer says its length") {
            return;
        }
    }
}

/// Waits until a server listens at `at`.
pub(crate) async fn listens(at: SocketAddr) {
    e2e::eventually(&format!("{at} listens"), Duration::from_secs(30), async || {
        TcpStream::connect(at).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}
