//! The row of a lane in `writers`.

use sqlx::MySqlConnection;

use super::error::classify;
use super::server_check::ServerChecker;
use super::text;
use crate::entry::Rev;
use crate::error::Error;

/// Adds the row. It may exist, if the answer to an earlier attempt was lost.
pub(super) async fn register(
    connection: &mut MySqlConnection,
    checker: &ServerChecker,
    lane: u64,
    logs: bool,
) -> Result<(), Error> {
    let register = sqlx::query(text::REGISTER).bind(lane).bind(checker.known_floor()).bind(logs);
    register.execute(connection).await.map(drop).map_err(classify)
}

/// Passes the fence, see [`crate::engine::WriteSession::fence`]. Checks the server first if the last check is too old.
pub(super) async fn pass_fence(
    connection: &mut MySqlConnection,
    checker: &mut ServerChecker,
    lane: u64,
    seq: u64,
    revs: u64,
) -> Result<Option<Rev>, Error> {
    let floor = checker.floor(connection).await?;
    // The largest revision in the store may be that of a key that was swept, so all reserved revisions are larger.
    let fence =
        sqlx::query(text::FENCE).bind(seq).bind(revs).bind(floor.saturating_add(revs)).bind(lane).bind(seq);
    let done = fence.execute(connection).await.map_err(classify)?;
    Ok((done.rows_affected() == 1).then(|| Rev(done.last_insert_id())))
}
