//! What the product promises, shown from outside: real processes, real databases, real sockets.

mod bench;
mod compose;
mod concurrency;
mod configuration;
mod console;
mod core;
mod crash;
mod drain;
mod durability;
mod export;
mod frames;
mod id;
mod keys;
mod limits;
mod list;
mod lookup;
mod lost_answers;
mod origin;
mod original;
mod outage;
mod privilege;
mod read;
mod refusals;
mod silence;
mod telemetry;
