//! What every process of this system needs and no service is about: ports, the edge of HTTP, stopping, telemetry.

pub mod access;
pub mod config;
pub mod edge;
pub mod peer;
pub mod problem;
pub mod process;
pub mod server;
pub mod telemetry;
