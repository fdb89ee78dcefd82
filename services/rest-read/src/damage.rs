//! The log of damaged rows.

use chassis::telemetry::LogLimit;
use db::DamagedRow;

/// Logs damaged rows, at most one a minute: clients may ask for them again and again.
#[derive(Debug)]
pub(crate) struct DamageLog {
    /// What met the rows: "get", "list" or "export".
    reader: &'static str,
    limit: LogLimit,
}

impl DamageLog {
    pub(crate) fn new(reader: &'static str) -> Self {
        Self { reader, limit: LogLimit::default() }
    }

    /// Logs `row`, or counts it for the next line.
    pub(crate) fn add(&self, row: &DamagedRow) {
        if let Some(left_out) = self.limit.admit() {
            tracing::error!(reader = self.reader, left_out, "{row}");
        }
    }
}
