//! A proxy in front of the database that loses answers: it drops an answer and closes the connection, or it stops forwarding
//! at a COMMIT.

mod commits;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use commits::Commits;

/// The number of answers of each connection that are not lost, so that the connection can be opened.
const SPARED: u64 = 24;

/// How long the server's side of a connection stays open after the client's side is closed. Longer than a write may take.
const HALF_DEAD: Duration = Duration::from_secs(15);

/// A proxy in front of a database server, on a port of its own. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    /// The address that it listens on.
    pub addr: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

/// What the connections of a proxy share.
#[derive(Debug)]
struct State {
    lost: AtomicU64,
    /// The proxy stops forwarding at the COMMIT of a transaction that contains these bytes.
    silencing: OnceLock<Vec<u8>>,
    silent: watch::Sender<bool>,
}

impl Proxy {
    /// Forwards to `server`. After the first answers of a connection, each `every`th answer is lost.
    pub async fn start(server: SocketAddr, every: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state =
            State { lost: AtomicU64::new(0), silencing: OnceLock::new(), silent: watch::Sender::new(false) };
        let state = Arc::new(state);
        let (mut tasks, task_state) = (JoinSet::new(), Arc::clone(&state));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            loop {
                let (client, _) = listener.accept().await.expect("clients can be accepted");
                // The client of a server that is away sees its connection closed.
                let Ok(server) = TcpStream::connect(server).await else { continue };
                number += 1;
                // So that another answer of a transaction is lost each time.
                let spared = SPARED + every + number % 7;
                let forwarding = forward(client, server, spared, number % 4 == 0, Arc::clone(&task_state));
                connections.spawn(unless_silent(task_state.silent.subscribe(), forwarding));
            }
        });
        Self { addr, state, _tasks: tasks }
    }

    /// From the COMMIT of a transaction that contains `key` on, nothing is forwarded. All connections stay open, and new ones are
    /// accepted.
    pub fn fall_silent_at_the_commit_of(&self, key: &str) {
        self.state.silencing.set(key.into()).expect("it is called once");
    }

    /// The number of answers lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
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
async fn forward(client: TcpStream, server: TcpStream, spared: u64, half: bool, state: Arc<State>) {
    client.set_nodelay(true).expect("an open socket");
    server.set_nodelay(true).expect("an open socket");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let commits = Commits::default();
    let asking = async {
        let (mut chunk, mut silencing) = (vec![0; 64 * 1024], false);
        loop {
            let Ok(len) = from_client.read(&mut chunk).await else { return };
            silencing |= state
                .silencing
                .get()
                .is_some_and(|text| chunk[..len].windows(text.len()).any(|part| part == text));
            let is_commit = commits.is_requested(&chunk[..len]);
            if silencing && is_commit {
                state.silent.send_replace(true);
                std::future::pending::<()>().await;
            }
            if len == 0 || to_server.write_all(&chunk[..len]).await.is_err() {
                return;
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
            commits.answered(&chunk[..len]);
            answers += 1;
            if answers > spared {
                state.lost.fetch_add(1, Ordering::Relaxed);
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
