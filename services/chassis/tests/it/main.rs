//! The promises of the chassis, over real sockets.

mod admin;
mod drain;
mod edge;
mod fast_path;
mod leaving;
mod limits;
mod net;
mod tls;
mod tracing_export;
