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

/// The allocator of every process. It returns freed memory to the system after 10 s, also when the process is idle.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
