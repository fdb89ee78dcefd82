//! The state of a lane, for readiness checks and refusals.

use std::sync::{Arc, Mutex, PoisonError};

use crate::entry::Refusal;
use crate::outage::OutageLog;

/// Whether a lane has a connection, and the log of its outages.
#[derive(Debug, Clone)]
pub(crate) struct LaneState {
    /// `Err`: why the lane has no connection.
    current: Arc<Mutex<Result<(), String>>>,
    /// The log of database outages, which all lanes share.
    pub(crate) outages: OutageLog,
}

impl LaneState {
    pub(crate) fn new(outages: OutageLog) -> Self {
        Self { current: Arc::new(Mutex::new(Err("not connected yet".into()))), outages }
    }

    pub(crate) fn set(&self, state: Result<(), String>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The refusal of a write that has no time left.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }
}
