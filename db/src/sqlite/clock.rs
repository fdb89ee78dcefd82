//! The time of a store in `SQLite`.

use sqlx::SqliteConnection;
use tokio::time::Instant;

use super::arguments::unsigned;
use super::error::classify;
use super::text;
use crate::engine::clock::{self, StoreClock};
use crate::error::Error;

/// The time that a statement may use now. Asks the file for the stored time if this process has not asked it for a second.
pub(super) async fn now(connection: &mut SqliteConnection, clock: &StoreClock) -> Result<u64, Error> {
    if clock.fresh_floor().is_none() {
        let asked = Instant::now();
        let stored = stored(connection).await?;
        clock.sampled(asked, clock::now()?, stored);
    }
    clock.now()
}

/// The stored time.
pub(super) async fn stored(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let stored = sqlx::query_scalar::<_, i64>(text::STORED_TIME).fetch_one(connection);
    unsigned(stored.await.map_err(classify)?)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::engine::{
        Engine as _, ReadSession as _, ScanSession as _, WriteEngine as _, WriteSession as _,
    };
    use crate::entry::{Expiry, Key};
    use crate::plan::run::{CurrentRow, Row};
    use crate::scanner::range::Range;
    use crate::sqlite::connect::Sqlite;
    use crate::sqlite::fixture::TestStore;

    const HOUR: u64 = 3_600_000_000;

    /// How many live entries a get of `key` and a list of everything find.
    async fn live(engine: &Sqlite, key: &Key) -> (usize, usize) {
        let (mut got, mut listed) = (0, 0);
        let mut reader = engine.open_reader().await.expect("it opens");
        let got_one = |_| {
            got += 1;
            ControlFlow::Continue(())
        };
        reader.get(std::slice::from_ref(key), None, got_one).await.expect("it can be read");
        let mut scanner = engine.open_scanner().await.expect("it opens");
        scanner.begin().await.expect("nobody else has it");
        let all = Range::new(String::new());
        let records = scanner.records(&all, 10, usize::MAX, |record| {
            listed += usize::from(record.expect("it is whole").value.is_some());
            ControlFlow::Continue(())
        });
        records.await.expect("it can be read");
        (got, listed)
    }

    #[tokio::test]
    async fn what_a_process_saw_expire_stays_gone_when_the_clock_is_set_back() {
        let TestStore { url, engine, .. } = &TestStore::new().await;
        let mut session = engine.open_session().await.expect("it opens");
        session.register(7, false).await.expect("the lane is new");
        let key = Key::new("k".into(), 512).expect("a short key");
        let first = session.fence(7, 1, 1).await.expect("nobody else writes").expect("the row is there");
        let row = Row { key: &key, value: "v", rev: first.0, expiry: Expiry::After(1800) };
        session.insert(&[row]).await.expect("the key is new");
        session.commit().await.expect("the disk has room");
        assert_eq!(live(engine, &key).await, (1, 1));

        // An hour later the clock is set back by an hour: the process knows the later time.
        engine.clock.sampled(Instant::now(), clock::now().expect("it is later than 1970") + HOUR, 0);
        assert_eq!(live(engine, &key).await, (0, 0));
        let second = session.fence(7, 2, 1).await.expect("nobody else writes").expect("the row is there");
        assert!(second.0 > first.0 + HOUR / 2, "revisions are from the same time: {second:?}");
        let current = session.read_for_update(&[&key]).await.expect("it can be read");
        assert_eq!(current, [CurrentRow::Present { rev: first.0, is_live: false }]);
        let row = Row { key: &key, value: "w", rev: second.0, expiry: Expiry::After(1800) };
        assert!(session.upsert(&[row]).await.expect("it can be written")[0].created);
        session.commit().await.expect("the disk has room");

        // A process that starts now knows it from the file, and its entries live as long as they should.
        let engine = Sqlite::new(url).expect("the URL is valid");
        assert_eq!(live(&engine, &key).await, (1, 1));
        engine.clock.sampled(Instant::now(), clock::now().expect("it is later than 1970") + 2 * HOUR, 0);
        assert_eq!(live(&engine, &key).await, (0, 0));
    }
}
