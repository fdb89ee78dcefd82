//! The state of a lane, for readiness checks and refusals.

use std::sync::{Arc, Mutex, PoisonError};

use crate::entry::Refusal;

/// Whether a lane has a connection. `Err`: why it has none.
#[derive(Debug, Clone)]
pub(crate) struct LaneState(Arc<Mutex<Result<(), String>>>);

impl LaneState {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Err("not connected yet".into()))))
    }

    /// Sets the state. Returns whether it changed.
    pub(crate) fn set(&self, state: Result<(), String>) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *current != state;
        *current = state;
        changed
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The refusal of a write that has no time left.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }
}
