//! Copies a table of an `SQLite` file that another program may write to meanwhile.

use std::path::Path;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnectOptions;

use super::copy::PrivateCopy;
use super::{ForeignNames, text};
use crate::error::Error;
use crate::sqlite::error::{classify, classify_opening};

pub(super) async fn copy(file: &Path, names: &ForeignNames) -> Result<PrivateCopy, Error> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut copy = PrivateCopy::within(options).await.map_err(|error| classify_opening(file, error))?;
    let encoding: Result<String, _> = sqlx::query_scalar(text::ENCODING).fetch_one(copy.connection()).await;
    match encoding.map_err(|error| classify_opening(file, error))?.as_str() {
        "UTF-8" => {}
        other => {
            let reason =
                format!("its texts are {other}: `sqlite3 FILE .dump | sqlite3 NEW` makes a copy in UTF-8");
            return Err(Error::NotReady(reason.into()));
        }
    }
    let select = AssertSqlSafe(text::copy(names));
    sqlx::query(select).execute(copy.connection()).await.map_err(classify)?;
    copy.sort().await
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection};

    use super::*;

    fn names(table: &str, key: &str, value: &str) -> ForeignNames {
        ForeignNames { table: table.into(), key: key.into(), value: value.into() }
    }

    async fn database(file: &Path, sql: &'static str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let mut writer = options.connect().await.expect("a file can be made");
        writer.execute(sql).await.expect("valid SQL");
        writer
    }

    #[tokio::test]
    async fn a_file_is_copied_beside_its_writer_who_commits_while_the_copy_is_used() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("100%?#.db");
        let sql = "create table \"odd ` name\" (k, v); insert into \"odd ` name\" values ('a', 'x'), \
                   (1, 'x'), ('b', 2.5), ('c', x'ff'), (null, 'x'), ('d', cast(x'fe' as text)), ('A', zeroblob(1048577))";
        let mut writer = database(&file, sql).await;
        writer.execute("begin immediate").await.expect("nobody else has it");
        let mut copy = copy(&file, &names("odd ` name", "k", "v")).await.expect("it can be read");
        writer
            .execute("insert into \"odd ` name\" values ('late', 'x'); commit")
            .await
            .expect("nobody reads");
        let rows = copy.next().await.expect("it can be read");
        let rows: Vec<String> = rows
            .into_iter()
            .map(|row| row.map_or_else(|unfit| unfit.to_string(), |entry| entry.key.as_str().to_owned()))
            .collect();
        assert_eq!(
            rows,
            [
                "a key is not text but null",
                "the key \"1\": it is not text but integer",
                "the key \"A\": its value has 1048577 bytes; at most 1048576 are allowed",
                "a",
                "the key \"b\": its value is not text but real",
                "the key \"c\": its value is not UTF-8 from byte 1 on",
                "the key \"d\": its value is not UTF-8 from byte 1 on",
            ]
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "no file was made");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said_and_no_file_is_made() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (missing, other, wide) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        std::fs::write(&other, "x".repeat(1000)).expect("a file can be written");
        drop(database(&wide, "pragma encoding = 'UTF-16'; create table t (k, v)").await);
        for (file, table, column, why) in [
            (&missing, "t", "v", "unable to open"),
            (&other, "t", "v", "is not an SQLite database"),
            (&wide, "t", "v", "its texts are UTF-16"),
        ] {
            let error = copy(file, &names(table, "k", column)).await.expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
        drop(database(&missing, "create table t (k, v)").await);
        for (table, column, why) in [("u", "v", "no such table"), ("t", "w", "no such column")] {
            let error = copy(&missing, &names(table, "k", column)).await.expect_err(why);
            assert!(matches!(&error, Error::NotReady(_)) && error.to_string().contains(why), "{error}");
        }
    }
}
