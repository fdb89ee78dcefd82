//! An engine of memory and a script of faults: a world in which lanes can be tested.
//!
//! One thread, a paused clock, and every random choice drawn from one seed: a run is its seed, and a run that failed is
//! replayed by it. [`simulate`] starts one or two writers on a [`server::Server`], lets clients write and read while
//! connections break, answers get lost or late, commits hang, locks are held, clocks step, fence rows vanish and the
//! server restarts, and then judges what was promised:
//!
//! - what was acknowledged is applied once: each key is linearizable, with its revisions and conditions;
//! - what was refused as not applied is nowhere;
//! - revisions only grow, a transaction writes each key once and in key order, and an atomic write is all there or not at all;
//! - each write is answered by its deadline and a second;
//! - once nothing goes wrong any more, every writer works again within a minute, and ends when it is dropped.
//!
//! `SCRIPTED_SEEDS=0..1000000 cargo test --release -p db scripted` runs so many; `SCRIPTED_SEEDS=17` replays one and
//! prints what happened.

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
