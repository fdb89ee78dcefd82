//! The transactions of one connection.

use super::*;
use crate::engine::{DatabaseUsers, Engine as _, WriteEngine as _};
use crate::sqlite::connect::Sqlite;

#[tokio::test]
async fn a_rollback_without_a_transaction_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("sqlite://{}", folder.path().join("rollback.db").display());
    let engine = Sqlite::new(&url).expect("the URL is valid");
    engine.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
    let mut session = engine.open_session().await.expect("it opens");
    session.rollback().await.expect("there is nothing to roll back");
    session.register(7).await.expect("the lane is new");
    for _ in 0..2 {
        let passed = session.fence(7, 1, 1).await.expect("nobody else writes");
        assert!(passed.is_some(), "a rollback undoes the fence");
        session.rollback().await.expect("there is a transaction");
        session.rollback().await.expect("there is no transaction any more");
    }
}
