//! A deterministic simulation of the write path: an engine in memory, injected faults, clients and a judge.
//!
//! A run has one thread, a paused clock, and draws every random choice from one seed: the seed repeats the run exactly.
//! [`simulate`] starts one or two writers on a [`server::ScriptedServer`], and clients write and read. Meanwhile connections
//! break, results are lost or late, commits hang, locks are held, the clock steps, fence rows vanish and the server
//! restarts. In some runs, rows are held locked for long and keys cannot be written. Then the run is judged:
//!
//! - an acknowledged write is applied once: each key is linearizable, with its revisions and conditions;
//! - a write that was refused as not applied has no effect;
//! - revisions only grow, a transaction writes each key once, each statement has its rows in key order, and an atomic write is
//!   applied as a whole or not at all;
//! - in the runs whose lanes log their changes, the log names exactly the keys that each committed batch wrote, and nothing else;
//! - each write is answered at most a second after its deadline;
//! - a key's revisions grow even if its row was swept and the clock was set back, and no read sees the store at an earlier time than
//!   an earlier read of the same process;
//! - once the faults stop, every writer works again within a minute: then every lane acknowledges each write and is ready; and a
//!   writer ends when it is dropped.
//!
//! To run many seeds, or to replay one seed with a log:
//!
//! ```sh
//! SCRIPTED_SEEDS=0..1000000 cargo test --release -p db --lib every_promise_holds -- --nocapture
//! SCRIPTED_SEEDS=17 cargo test -p db --lib every_promise_holds -- --nocapture
//! ```
//!
//! Not simulated: expiry (only that every expiring row has a hint for the sweeper), transactions of the sweeper (dead rows vanish when
//! the clock steps), reads of anything but committed rows, and more than two processes.

mod client;
mod events;
mod journal;
mod locks;
mod log;
mod process;
mod script;
mod sent;
mod server;
mod session;
mod simulate;
mod state;
mod statement;
mod tables;
mod tests;

pub(crate) use locks::Lock;
pub(crate) use script::{FaultRates, Sabotage, Script};
pub(crate) use server::ScriptedServer;
pub(crate) use session::ScriptedEngine;
