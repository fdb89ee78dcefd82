//! How many lines an import has written, refused and skipped.

use indicatif::HumanCount;

use crate::cli::progress::counted;

/// How many lines were settled.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    pub(super) written: u64,
    pub(super) refused: u64,
    /// Lines whose entry had expired before they were written.
    pub(super) expired: u64,
}

impl LineCounts {
    /// How many lines have a final outcome.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.refused + self.expired
    }

    /// The counts and the duration in words.
    pub(super) fn summary(&self, seconds: f64) -> String {
        let mut parts = vec![format!("{} written", counted(self.written))];
        for (count, what) in [(self.refused, "refused"), (self.expired, "expired")] {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        format!("{} in {seconds:.1} s", parts.join(", "))
    }
}
