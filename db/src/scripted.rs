//! A deterministic simulation of the write path: an engine in memory, injected faults, clients and a judge.
//!
//! A run has one thread, a paused clock, and draws every random choice from one seed: the seed repeats the run exactly.
//! [`simulate`] starts one or two writers on a [`server::Server`] and lets clients write and read. Meanwhile connections
//! break, answers are lost or late, commits hang, locks are held, the clock steps, fence rows vanish and the server
//! restarts. Then the run is judged:
//!
//! - what was acknowledged is applied once: each key is linearizable, with its revisions and conditions;
//! - what was refused as not applied is nowhere;
//! - revisions only grow, a transaction writes each key once, each statement has its rows in key order, and an atomic write is
//!   there as a whole or not at all;
//! - each write is answered by its deadline and a second;
//! - once nothing goes wrong any more, every writer works again within a minute, and ends when it is dropped.
//!
//! To run many seeds, or to replay one and see what happens in it:
//!
//! ```sh
//! SCRIPTED_SEEDS=0..1000000 cargo test --release -p db --lib what_was_promised -- --nocapture
//! SCRIPTED_SEEDS=17 cargo test -p db --lib what_was_promised -- --nocapture
//! ```
//!
//! Not simulated: expiry (only that the sweeper is told of what expires), the sweeper, reads other than of committed rows,
//! and more than two processes.

mod clients;
mod events;
mod locks;
mod record;
mod script;
mod sent;
mod server;
mod session;
mod simulate;
mod state;
mod statement;
mod tables;
mod tests;

pub(crate) use script::{Rates, Script};
pub(crate) use server::{Sabotage, Server};
pub(crate) use session::Scripted;
