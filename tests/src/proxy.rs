//! A proxy in front of the database that loses answers: it drops an answer and closes the connection, or it stops forwarding.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The number of answers of each connection that are not lost, so that the connection can be opened.
const SPARED: u64 = 24;

/// How long the server's side of a connection stays open after the client's side is closed. Longer than a write may take.
const HALF_DEAD: Duration = Duration::from_secs(15);

/// A proxy in front of a database server, on a port of its own. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    /// The address that it listens on.
    pub addr: SocketAddr,
    lost: Arc<AtomicU64>,
    silent: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Forwards to `server`. After the first answers of a connection, each `every`th answer is lost.
    pub async fn start(server: SocketAddr, every: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let lost = Arc::new(AtomicU64::new(0));
        let (mut tasks, counter) = (JoinSet::new(), Arc::clone(&lost));
        let (silent, silence) = watch::channel(false);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            loop {
                let (client, _) = listener.accept().await.expect("clients can be accepted");
                let server = TcpStream::connect(server).await.expect("the server listens");
                number += 1;
                // So that another answer of a transaction is lost each time.
                let spared = SPARED + every + number % 7;
                let forwarding = forward(client, server, spared, number % 4 == 0, Arc::clone(&counter));
                connections.spawn(unless_silent(silence.clone(), forwarding));
            }
        });
        Self { addr, lost, silent, _tasks: tasks }
    }

    /// Stops forwarding in both directions. All connections stay open, and new ones are accepted.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// The number of answers lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Runs `forwarding` until `silence` becomes true, then waits forever.
async fn unless_silent(mut silence: watch::Receiver<bool>, forwarding: impl Future<Output = ()>) {
    // `forwarding` owns both connections: dropping it would show the client that the database is gone.
    let mut forwarding = pin!(forwarding);
    tokio::select! {
        biased;
        () = async { drop(silence.wait_for(|silent| *silent).await) } => std::future::pending().await,
        () = &mut forwarding => {}
    }
}

/// Forwards `spared` answers, drops the next, and closes the connections. If `half`, it closes the server's side much later.
async fn forward(client: TcpStream, server: TcpStream, spared: u64, half: bool, lost: Arc<AtomicU64>) {
    client.set_nodelay(true).expect("an open socket");
    server.set_nodelay(true).expect("an open socket");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match from_client.read(&mut chunk).await {
                Ok(len) if len > 0 && to_server.write_all(&chunk[..len]).await.is_ok() => (),
                _ => return,
            }
        }
    };
    let answering = async {
        let (mut chunk, mut answers) = (vec![0; 64 * 1024], 0);
        loop {
            let Ok(len) = from_server.read(&mut chunk).await else { return };
            if len == 0 {
                return;
            }
            answers += 1;
            if answers > spared {
                lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if to_client.write_all(&chunk[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => return,
        () = answering => (),
    }
    drop((from_client, to_client));
    if half {
        tokio::time::sleep(HALF_DEAD).await;
    }
}
