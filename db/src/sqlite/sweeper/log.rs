//! Removes old rows of the log of changes in `SQLite`.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteSweeper;
use crate::engine::sweep::{LogSession, LoggedPart, Removal};
use crate::error::Error;
use crate::sqlite::arguments::{signed, unsigned};
use crate::sqlite::error::classify;
use crate::sqlite::text;

impl LogSession for SqliteSweeper {
    async fn first_part(&mut self, lane: u64, cutoff: u64) -> Result<Option<LoggedPart>, Error> {
        let query = sqlx::query(text::changes::FIRST_PART).bind(signed(lane)?).bind(signed(cutoff)?);
        let found = query.fetch_optional(&mut *self.connection).await.map_err(classify)?;
        found.as_ref().map(part).transpose()
    }

    async fn read_parts(
        &mut self,
        lane: u64,
        after: (u64, u64),
        limit: usize,
    ) -> Result<Vec<LoggedPart>, Error> {
        let query = sqlx::query(text::changes::PARTS).bind(signed(lane)?);
        let query = query.bind(signed(after.0)?).bind(signed(after.1)?).bind(signed(limit as u64)?);
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.iter().map(part).collect()
    }

    async fn delete_parts(&mut self, last: LoggedPart, removal: Removal) -> Result<(), Error> {
        let LoggedPart { lane, seq, part, at, bytes: _ } = last;
        self.begin_write().await?;
        let delete = sqlx::query(text::changes::DELETE_PARTS);
        let delete = delete.bind(signed(lane)?).bind(signed(seq)?).bind(signed(part)?);
        delete.execute(&mut *self.connection).await.map_err(classify)?;
        let sign = match removal {
            Removal::Aged(floor) => sqlx::query(text::changes::RAISE_FLOOR).bind(signed(floor)?),
            Removal::Early => {
                let mark = sqlx::query(text::changes::ADD_MARKER).bind(signed(lane)?).bind(signed(seq)?);
                mark.bind(signed(part)?).bind(signed(at)?)
            }
        };
        sign.execute(&mut *self.connection).await.map_err(classify)?;
        self.commit().await
    }
}

fn part(row: &SqliteRow) -> Result<LoggedPart, Error> {
    let number = |at: usize| unsigned(row.try_get_unchecked(at).map_err(classify)?);
    Ok(LoggedPart { lane: number(0)?, seq: number(1)?, part: number(2)?, at: number(3)?, bytes: number(4)? })
}
