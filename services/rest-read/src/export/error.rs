//! Why an export ended early, and the log line about it.

use chassis::telemetry::LogLimit;
use db::{DamagedRow, Error};

use super::CLIENT_TIMEOUT;
use crate::damage::DamageLog;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Damaged(DamagedRow),
    #[error("the client read nothing for {} s", CLIENT_TIMEOUT.as_secs())]
    Stalled,
    #[error("the client closed the connection")]
    Left,
    #[error("its permit is needed for another token or address")]
    Displaced,
}

impl ExportError {
    /// Logs the error: a damaged row in `damage`, any other as `limit` allows.
    pub(super) fn log(&self, limit: &LogLimit, damage: &DamageLog) {
        let log: fn(&Self, u64) = match self {
            Self::Damaged(row) => return damage.add(row),
            Self::Left => return tracing::debug!(error = %self, "an export ended early"),
            Self::Database(Error::Internal(_)) => {
                |error, left_out| tracing::error!(%error, left_out, "an export ended early")
            }
            Self::Database(
                Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_),
            )
            | Self::Stalled => |error, left_out| tracing::warn!(%error, left_out, "an export ended early"),
            Self::Displaced => |error, left_out| tracing::info!(%error, left_out, "an export ended early"),
        };
        if let Some(left_out) = limit.admit() {
            log(self, left_out);
        }
    }
}
