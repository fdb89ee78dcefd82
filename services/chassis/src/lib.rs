//! The parts that all services share: ports, the HTTP edge, access control, stopping, telemetry.

pub mod access;
pub mod config;
pub mod edge;
pub mod peer;
pub mod problem;
pub mod process;
pub mod running;
pub mod server;
pub mod telemetry;
