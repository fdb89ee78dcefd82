//! The transactions of one connection.

use super::*;
use crate::changes::keys::unpack;
use crate::engine::WriteEngine as _;
use crate::sqlite::fixture::TestStore;

/// A store and a session.
async fn store() -> (TestStore, SqliteSession) {
    let store = TestStore::new().await;
    let session = store.engine.open_session().await.expect("it opens");
    (store, session)
}

fn key(name: String) -> Key {
    Key::new(name, 512).expect("a short key")
}

#[tokio::test]
async fn a_rollback_without_a_transaction_is_no_error() {
    let (_store, mut session) = store().await;
    session.rollback().await.expect("there is nothing to roll back");
    session.register(7, false).await.expect("the lane is new");
    for _ in 0..2 {
        let passed = session.fence(7, 1, 1).await.expect("nobody else writes");
        assert!(passed.is_some(), "a rollback undoes the fence");
        session.rollback().await.expect("there is a transaction");
        session.rollback().await.expect("there is no transaction any more");
    }
}

#[tokio::test]
async fn a_batch_is_in_the_log_in_parts_if_it_is_committed() {
    let (mut store, mut session) = store().await;
    session.register(7, true).await.expect("the lane is new");
    // Of 514 bytes each: more than fit one part.
    let keys: Vec<Key> = (0..2100).map(|number| key(format!("{number:0512}"))).collect();
    for seq in [1, 2] {
        let rev = session.fence(7, seq, 1).await.expect("nobody else writes").expect("the row is there");
        session.log_changes(7, seq, &keys).await.expect("it can be written");
        if seq == 1 {
            session.rollback().await.expect("there is a transaction");
            continue;
        }
        session.commit().await.expect("the disk has room");
        let row = sqlx::query_as::<_, (i64, i64, bool)>("select seq, rev, logged from writers where id = 7");
        let row = row.fetch_one(&mut store.other).await.expect("it can be read");
        assert_eq!(row, (2, signed(rev.0).expect("a time"), true), "the fence sets the rev, too");
    }
    let rows = sqlx::query_as::<_, (i64, i64, i64, i64, Vec<u8>)>(
        "select lane, seq, part, at, ks from changes order by lane, seq, part",
    );
    let rows = rows.fetch_all(&mut store.other).await.expect("it can be read");
    let ids: Vec<_> = rows.iter().map(|(lane, seq, part, ..)| (*lane, *seq, *part)).collect();
    assert_eq!(ids, [(7, 2, 0), (7, 2, 1)], "only what was committed");
    assert!(rows.iter().all(|(_, _, _, at, _)| *at > 1_700_000_000_000_000), "the store clock");
    let logged = rows.iter().flat_map(|(.., ks)| unpack(ks)).map(|key| key.expect("it is whole"));
    assert_eq!(logged.collect::<Vec<_>>(), keys);
}

/// The statements of the program before the log of changes, which may run beside this one during an upgrade.
#[tokio::test]
async fn an_older_program_moves_its_row_and_shows_that_it_logs_nothing() {
    let mut store = TestStore::new().await;
    let now = unsigned(1_700_000_000_000_000).expect("it is positive");
    for (sql, changed) in [
        ("insert into writers (id, seq) values (9, 0) on conflict (id) do nothing", 1),
        ("begin immediate", 0),
        ("update writers set seq = 1 where id = 9 and seq < 1", 1),
        ("update clock set rev = max(rev + 512, 5) where id = 0 returning rev", 1),
        (
            "insert into entries (k, v, rev, born) values (x'61', x'62', 5, 5) on conflict (k) do update set \
            v = excluded.v, rev = max(excluded.rev, rev + 1), \
            born = iif(expires_at <= 5, max(excluded.rev, rev + 1), born), expires_at = excluded.expires_at \
            returning k, rev, born = rev",
            1,
        ),
        ("insert into expiries (at, k) values (600000000, x'61') on conflict (at, k) do nothing", 1),
        ("commit", 0),
        ("update writers set seq = 1 where id = 9 and seq < 1", 0),
    ] {
        let done = sqlx::query(sql).execute(&mut store.other).await.expect("it works as before");
        if changed > 0 || sql.starts_with("update") {
            assert_eq!(done.rows_affected(), changed, "{sql}");
        }
    }
    let row = sqlx::query_as::<_, (i64, i64, bool)>("select seq, rev, logged from writers where id = 9");
    let (seq, rev, logged) = row.fetch_one(&mut store.other).await.expect("it can be read");
    assert_eq!((seq, logged), (1, false));
    assert!(unsigned(rev).expect("it is positive") > now, "the trigger has set it: {rev}");
}
