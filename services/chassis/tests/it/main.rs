//! The promises of the chassis, over real sockets.

mod admin;
mod drain;
mod edge;
mod express;
mod limits;
mod net;
mod tracing_export;
