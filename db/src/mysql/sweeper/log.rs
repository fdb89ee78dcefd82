//! Removes old rows of the log of changes in `MySQL` or `MariaDB`.

use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::MySqlSweeper;
use crate::engine::sweep::{LogSession, LoggedPart, Removal};
use crate::error::Error;
use crate::mysql::error::classify;
use crate::mysql::text;

impl LogSession for MySqlSweeper {
    async fn first_part(&mut self, lane: u64, cutoff: u64) -> Result<Option<LoggedPart>, Error> {
        let query = sqlx::query(text::changes::FIRST_PART).bind(lane).bind(cutoff);
        let found = query.fetch_optional(&mut self.connection).await.map_err(classify)?;
        found.as_ref().map(part).transpose()
    }

    async fn read_parts(
        &mut self,
        lane: u64,
        after: (u64, u64),
        limit: usize,
    ) -> Result<Vec<LoggedPart>, Error> {
        let (seq, number) = after;
        let query = sqlx::query(text::changes::PARTS).bind(lane).bind(seq).bind(seq).bind(number);
        let found = query.bind(limit as u64).fetch_all(&mut self.connection).await.map_err(classify)?;
        found.iter().map(part).collect()
    }

    async fn delete_parts(&mut self, last: LoggedPart, removal: Removal) -> Result<(), Error> {
        let LoggedPart { lane, seq, part, at, bytes: _ } = last;
        let delete = sqlx::query(text::changes::DELETE_PARTS).bind(lane).bind(seq).bind(seq).bind(part);
        delete.execute(&mut self.connection).await.map_err(classify)?;
        let sign = match removal {
            Removal::Aged(floor) => sqlx::query(text::changes::RAISE_FLOOR).bind(floor),
            Removal::Early => sqlx::query(text::changes::ADD_MARKER).bind(lane).bind(seq).bind(part).bind(at),
        };
        sign.execute(&mut self.connection).await.map_err(classify)?;
        self.commit().await
    }
}

fn part(row: &MySqlRow) -> Result<LoggedPart, Error> {
    let number = |at: usize| row.try_get_unchecked::<u64, _>(at).map_err(classify);
    Ok(LoggedPart {
        lane: number(0)?,
        seq: number(1)?,
        part: row.try_get_unchecked::<u16, _>(2).map_err(classify)?.into(),
        at: number(3)?,
        bytes: number(4)?,
    })
}
