//! The promises of the chassis, over real sockets.

mod admin;
mod drain;
mod edge;
mod fast_path;
mod limits;
mod net;
mod tracing_export;
