//! How many lines, rows or keys a delivery has written, refused and skipped.

use indicatif::HumanCount;

use crate::cli::progress::counted;

/// What a line of a delivery stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A line of a file: a write message.
    Line,
    /// A row of a table, as a write message.
    Row,
    /// A key to delete. Its delete may have the condition that the key is not written since it was listed.
    Key,
}

/// How many lines were settled.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    pub(super) written: u64,
    pub(super) refused: u64,
    /// Lines whose entry had expired before they were written.
    pub(super) expired: u64,
    /// Rows whose key existed and must not be overwritten, or keys that were written after they were listed.
    pub(super) existing: u64,
    /// Keys that were gone before they were deleted.
    pub(super) gone: u64,
}

impl Unit {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row => "row",
            Self::Key => "key",
        }
    }
}

impl LineCounts {
    /// How many lines have a final outcome.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.refused + self.expired + self.existing + self.gone
    }

    /// The counts and the duration in words.
    pub(super) fn summary(&self, unit: Unit, seconds: f64) -> String {
        let (written, existing) = match unit {
            Unit::Line | Unit::Row => ("written", "there already"),
            Unit::Key => ("deleted", "changed meanwhile and kept"),
        };
        let mut parts = vec![format!("{} {written}", counted(self.written, unit.noun()))];
        let others = [
            (self.refused, "refused"),
            (self.expired, "expired"),
            (self.existing, existing),
            (self.gone, "gone already"),
        ];
        for (count, what) in others {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        format!("{} in {seconds:.1} s", parts.join(", "))
    }
}
