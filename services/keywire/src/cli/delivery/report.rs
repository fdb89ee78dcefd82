//! The end of a delivery: its report, and whether the command succeeds.

use chassis::process::terminal::say;

use crate::cli::client::Failure;
use crate::cli::progress::counted;

use super::Delivery;

impl Delivery<'_> {
    /// Prints the counts and returns the result of the command. `done` is how the delivery ended. Refused lines are a failure; each was
    /// reported before.
    pub(crate) fn report(self, done: Result<(), Failure>) -> Result<(), Failure> {
        let summary = self.counts.summary(self.unit, self.progress.elapsed().as_secs_f64());
        self.progress.clear();
        if done.is_ok() && self.counts.refused > 0 {
            return Err(Failure::Refused(summary));
        }
        if done.is_ok() || self.counts.settled() > 0 {
            say(format_args!("keywire: {summary}"));
        }
        done
    }

    /// Returns the result of the command and prints nothing. Refused lines are a failure.
    pub(crate) fn into_success(self) -> Result<(), Failure> {
        match self.counts.refused {
            0 => Ok(()),
            count => Err(Failure::Refused(format!("{} refused", counted(count, self.unit.noun())))),
        }
    }
}
