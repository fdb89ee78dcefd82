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
    #[error("another token or address has fewer exports and gets its turn")]
    Displaced,
}

impl ExportError {
    /// Logs the error: a damaged row in `damage`, any other as `limit` allows.
    pub(super) fn log(&self, limit: &LogLimit, damage: &DamageLog) {
        let error = self;
        match error {
            Self::Damaged(row) => damage.add(row),
            Self::Database(Error::Internal(_)) => {
                if let Some(left_out) = limit.admit() {
                    tracing::error!(%error, left_out, "an export ended early");
                }
            }
            Self::Database(
                Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_),
            )
            | Self::Stalled => {
                if let Some(left_out) = limit.admit() {
                    tracing::warn!(%error, left_out, "an export ended early");
                }
            }
            Self::Displaced => {
                if let Some(left_out) = limit.admit() {
                    tracing::info!(%error, left_out, "an export ended early");
                }
            }
            Self::Left => tracing::debug!(%error, "an export ended early"),
        }
    }
}
