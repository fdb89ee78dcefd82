//! What every process of this system needs and no service is about: ports, the edge of HTTP, stopping, telemetry.

pub mod access;
pub mod admin;
pub mod check;
pub mod config;
mod cors;
pub mod edge;
pub mod express;
mod failure;
pub mod line;
mod observe;
pub mod origin;
pub mod problem;
mod rate;
mod refusals;
pub mod server;
pub mod stop;
pub mod telemetry;
pub mod terminal;
pub mod tls;
mod wire;
