//! The backup and the restore of db/README.md, as a user would copy them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Compose, HttpConnection, Socket, storage};
use tokio::task::spawn_blocking;

const README: &str = include_str!("../../../../db/README.md");

/// The commands of db/README.md below the line that begins with `title`.
fn commands(title: &str) -> String {
    let below = README.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let block = below.take_while(|line| line.is_empty() || line.starts_with("    "));
    let commands: Vec<&str> = block.filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!commands.is_empty(), "the README has commands below {title:?}");
    commands.join("\n")
}

/// What the clients that read one key again and again saw.
#[derive(Debug, Default)]
struct Seen {
    found: usize,
    unavailable: usize,
    other: Vec<String>,
}

async fn watch(compose: &Compose, key: &str, is_over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut connection) = HttpConnection::try_open(compose.gateway).await else { continue };
        match connection.try_request("GET", &storage(key), &[]).await {
            Ok(response) if response.status == 200 => seen.found += 1,
            Ok(response) if response.status == 503 => seen.unavailable += 1,
            Ok(response) => seen.other.push(format!("{response:?}")),
            // A reader that stops closes its connections; the gateway answers 503 for it or closes as well.
            Err(_) => {}
        }
    }
    seen
}

pub(super) async fn a_restore_shows_nobody_half_a_table(compose: &Arc<Compose>) {
    let mut socket = Socket::open(compose.gateway).await;
    let value = "v".repeat(2000);
    for n in 0..2000 {
        socket.set(&format!("restored{n:04}"), &value).await;
    }
    let folder = Arc::new(tempfile::tempdir().expect("a folder can be made"));
    let shell = async |commands: String| {
        let (compose, folder) = (Arc::clone(compose), Arc::clone(&folder));
        let done = spawn_blocking(move || compose.shell(folder.path(), &commands)).await;
        done.expect("the task ends")
            .unwrap_or_else(|said| panic!("a command of db/README.md failed: {said}"));
    };
    shell(commands("**Back up** without a stop")).await;
    socket.set("restored1999", "written after the backup").await;
    socket.set("written after the backup", "").await;

    let is_over = Arc::new(AtomicBool::new(false));
    let watching = {
        let (compose, is_over) = (Arc::clone(compose), Arc::clone(&is_over));
        tokio::spawn(async move { watch(&compose, "restored1999", is_over).await })
    };
    shell(commands("**Restore**, into the same system")).await;
    is_over.store(true, Ordering::Relaxed);
    let seen = watching.await.expect("it watches to the end");
    assert!(seen.other.is_empty() && seen.found > 0 && seen.unavailable > 0, "{seen:?}");

    let mut connection = HttpConnection::open(compose.gateway).await;
    assert_eq!(connection.get(&storage("restored1999")).await.json()["value"], value.as_str());
    assert_eq!(connection.get(&storage("written after the backup")).await.status, 404);
}
