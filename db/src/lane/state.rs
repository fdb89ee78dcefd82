//! Whether a lane has a connection, for others to see.

use std::sync::{Arc, Mutex, PoisonError};

use crate::entry::Refusal;

/// Whether a lane has a connection; the text says why not.
#[derive(Debug, Clone)]
pub(crate) struct LaneState(Arc<Mutex<Result<(), String>>>);

impl LaneState {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Err("not connected yet".into()))))
    }

    /// Takes the new state and answers whether it is another one than before.
    pub(crate) fn set(&self, state: Result<(), String>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *now != state;
        *now = state;
        changed
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a write that must not wait any longer is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }
}
