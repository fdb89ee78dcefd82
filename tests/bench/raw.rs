//! The speed of a database without Keywire: a small client, without TLS.

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, MySqlConnection};
use tokio::task::JoinSet;

use crate::ours::KEYS;

/// The statement that each connection repeats.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Statement {
    /// An upsert of this many rows, committed by itself.
    Upsert(u64),
    /// A SELECT of one key.
    Select,
    /// A SELECT of this many keys.
    SelectIn(u64),
}

/// Rows per second of `connections` connections that each repeat `statement` until `end`.
pub(crate) async fn rows(url: &str, connections: u64, statement: Statement, seconds: f64) -> f64 {
    // Connect first, so that only the statements are measured.
    let mut open = Vec::new();
    for number in 0..connections {
        let connection = MySqlConnection::connect(url).await.expect("the database answers");
        open.push((number, connection));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, connection) in open {
        tasks.spawn(work(connection, number, connections, statement, begun, seconds));
    }
    let rows: u64 = tasks.join_all().await.into_iter().sum();
    f64::from(u32::try_from(rows).expect("seconds of work")) / begun.elapsed().as_secs_f64()
}

async fn work(
    mut connection: MySqlConnection,
    number: u64,
    connections: u64,
    statement: Statement,
    begun: Instant,
    seconds: f64,
) -> u64 {
    let (rows, sql): (u64, Arc<str>) = match statement {
        Statement::Upsert(rows) => (rows, upsert(rows).into()),
        Statement::Select => (1, "select k, v, rev from entries where k = ?".into()),
        Statement::SelectIn(keys) => {
            (keys, format!("select k, v, rev from entries where k in ({})", list("?", keys)).into())
        }
    };
    let mut rng = SmallRng::seed_from_u64(number);
    let share = KEYS / connections;
    let mut done = 0;
    while begun.elapsed().as_secs_f64() < seconds {
        // Each connection has keys of its own, in order: they never wait for each other's rows.
        let mut keys: Vec<u64> = (0..rows).map(|_| number * share + rng.random_range(0..share)).collect();
        keys.sort_unstable();
        let mut arguments = MySqlArguments::default();
        for key in keys {
            arguments.add(format!("bench:{key:08}").into_bytes()).expect("a key");
            if let Statement::Upsert(_) = statement {
                arguments.add(vec![b'a' + rng.random_range(0..26); 100]).expect("a value");
            }
        }
        let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), arguments);
        if let Statement::Upsert(_) = statement {
            query.execute(&mut connection).await.expect("an upsert");
        } else {
            query.fetch_all(&mut connection).await.expect("rows");
        }
        done += rows;
    }
    done
}

fn upsert(rows: u64) -> String {
    let values = list("(?, ?, 1, 1)", rows);
    format!(
        "insert into entries (k, v, rev, born) values {values} on duplicate key update v = values(v), rev = rev + 1"
    )
}

fn list(part: &str, count: u64) -> String {
    vec![part; usize::try_from(count).expect("few")].join(", ")
}
