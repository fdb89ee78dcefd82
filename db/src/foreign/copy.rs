//! The private copy of a table: it takes rows in any order, and returns them in byte order of their keys.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::row::{ForeignCell, ForeignEntry, ForeignRow, UnfitRow};
use super::text;
use crate::entry::Key;
use crate::error::Error;
use crate::sqlite::error::classify;

/// The most rows that one statement adds.
const ROWS_PER_INSERT: usize = 64;

/// The most bytes of rows that are returned together; a single row may be longer.
const BYTES_PER_READ: usize = 1024 * 1024;

/// How long the source may keep its file locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The rows of another program, in a temporary file that nobody else can see. Dropping it removes them.
#[derive(Debug)]
pub struct PrivateCopy {
    connection: SqliteConnection,
    /// How many rows there are.
    rows: u64,
    /// The key and the number of the last row that was returned.
    last: (Vec<u8>, i64),
    /// The key of the last entry that was returned.
    last_key: Option<Key>,
    /// The collation of the keys, if it ignores case.
    pub(super) folding: Option<String>,
}

impl PrivateCopy {
    /// A copy without rows.
    ///
    /// # Errors
    /// [`Error`] if there is no room for temporary files.
    pub async fn empty() -> Result<Self, Error> {
        Self::within(SqliteConnectOptions::new().filename(":memory:")).await.map_err(classify)
    }

    /// A copy without rows, as a temporary table of the connection with `options`.
    pub(super) async fn within(options: SqliteConnectOptions) -> sqlx::Result<Self> {
        // Whatever the build of SQLite prefers: a table in memory would have no bound.
        let options =
            options.pragma("temp_store", "file").busy_timeout(LOCK_TIMEOUT).disable_statement_logging();
        let mut connection = options.connect().await?;
        for sql in [text::CREATE, text::UNJOURNALED] {
            sqlx::query(sql).execute(&mut connection).await?;
        }
        Ok(Self { connection, rows: 0, last: (Vec::new(), 0), last_key: None, folding: None })
    }

    /// The connection, which has the table of the copy.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no room for temporary files.
    pub async fn add(&mut self, rows: Vec<ForeignRow>) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await.map_err(classify)?;
        let mut rows = rows.into_iter();
        loop {
            let some: Vec<ForeignRow> = rows.by_ref().take(ROWS_PER_INSERT).collect();
            if some.is_empty() {
                break;
            }
            let mut insert = sqlx::query(AssertSqlSafe(text::insert(some.len())));
            for ForeignRow { key, value } in some {
                for cell in [key, value] {
                    let len = i64::try_from(cell.len).unwrap_or(i64::MAX);
                    insert = insert.bind(cell.kind).bind(cell.bytes).bind(len);
                }
            }
            insert.execute(&mut *transaction).await.map_err(classify)?;
        }
        transaction.commit().await.map_err(classify)
    }

    /// Puts the rows in byte order. To be called once, after the last row was added.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no room for temporary files.
    pub async fn sort(mut self) -> Result<Self, Error> {
        sqlx::query(text::SORT).execute(&mut self.connection).await.map_err(classify)?;
        let rows: i64 =
            sqlx::query_scalar(text::COUNT).fetch_one(&mut self.connection).await.map_err(classify)?;
        self.rows = rows.unsigned_abs();
        Ok(self)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The collation of the keys, if it ignores case: the other program then takes `A` and `a` for the same key.
    #[must_use]
    pub fn folding(&self) -> Option<&str> {
        self.folding.as_deref()
    }

    /// The next rows, in byte order of their keys; none at the end. If several rows have the same key, only the first of
    /// them is an entry.
    ///
    /// # Errors
    /// [`Error`] if the temporary file cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Result<ForeignEntry, UnfitRow>>, Error> {
        let query = sqlx::query(text::NEXT).bind(&self.last.0[..]).bind(self.last.1);
        let mut found = query.fetch(&mut self.connection);
        let (mut rows, mut bytes, mut last) = (Vec::new(), 0, None);
        while bytes < BYTES_PER_READ
            && let Some(row) = found.try_next().await.map_err(classify)?
        {
            let number: i64 = row.try_get(6).map_err(classify)?;
            let row =
                ForeignRow { key: cell(&row, 0).map_err(classify)?, value: cell(&row, 3).map_err(classify)? };
            last = Some((row.key.bytes.clone(), number));
            bytes += row.bytes();
            rows.push(row);
        }
        drop(found);
        self.last = last.unwrap_or(std::mem::take(&mut self.last));
        Ok(rows.into_iter().map(|row| self.judge(row)).collect())
    }

    /// The entry of `row`, unless it is unfit, or an earlier row has its key.
    fn judge(&mut self, row: ForeignRow) -> Result<ForeignEntry, UnfitRow> {
        let entry = row.into_entry()?;
        if self.last_key.as_ref() == Some(&entry.key) {
            return Err(UnfitRow::again(&entry.key));
        }
        self.last_key = Some(entry.key.clone());
        Ok(entry)
    }
}

/// Kind, bytes and length, from the column `at` on.
fn cell(row: &SqliteRow, at: usize) -> sqlx::Result<ForeignCell> {
    let len: i64 = row.try_get(at + 2)?;
    Ok(ForeignCell { kind: row.try_get(at)?, bytes: row.try_get(at + 1)?, len: len.unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> ForeignRow {
        ForeignRow { key: ForeignCell::text(key.into()), value: ForeignCell::text(value.into()) }
    }

    /// Everything that `copy` returns: keys and values, or why there is none.
    async fn all(copy: &mut PrivateCopy) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let rows = copy.next().await.expect("it can be read");
            if rows.is_empty() {
                return all;
            }
            all.extend(rows.into_iter().map(|row| match row {
                Ok(entry) => format!("{}={}", entry.key.as_str(), entry.value.as_str()),
                Err(unfit) => unfit.to_string(),
            }));
        }
    }

    #[tokio::test]
    async fn rows_come_back_in_byte_order_and_a_key_is_an_entry_once() {
        let mut copy = PrivateCopy::empty().await.expect("it can be made");
        copy.add(vec![row("b", "first"), row("a ", "3"), row("\u{1f600}", "5"), row("a", "2")])
            .await
            .expect("room");
        copy.add(vec![row("b", "second"), row("A", "1"), row("", "none")]).await.expect("room");
        let null = ForeignRow { key: ForeignCell::other("null"), value: ForeignCell::text("v".into()) };
        copy.add(vec![null]).await.expect("room");
        let mut copy = copy.sort().await.expect("room");
        assert_eq!((copy.rows(), copy.folding()), (8, None));
        let unfit = [r#"the key "": it must not be empty"#, "a key is not text but null"];
        let again = r#"the key "b": it is there more than once"#;
        let entries = ["A=1", "a=2", "a =3", "b=first", again, "\u{1f600}=5"];
        assert_eq!(all(&mut copy).await, [&unfit[..], &entries[..]].concat());
    }

    #[tokio::test]
    async fn many_and_large_rows_come_back_in_parts() {
        let mut copy = PrivateCopy::empty().await.expect("it can be made");
        let large = "x".repeat(300 * 1024);
        let rows =
            (0..1000).rev().map(|number| row(&format!("{number:04}"), if number < 9 { &large } else { "v" }));
        copy.add(rows.collect()).await.expect("room");
        let mut copy = copy.sort().await.expect("room");
        let first = copy.next().await.expect("it can be read");
        assert_eq!(first.len(), 4, "no more than about a megabyte at once");
        let rest = all(&mut copy).await;
        assert_eq!(rest.len(), 996);
        assert!(rest.is_sorted() && rest[0].starts_with("0004=xxx"), "{:.20}", rest[0]);
    }
}
