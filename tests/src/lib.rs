//! The tools of the end-to-end tests: real servers, real processes and real sockets.
//!
//! A failure is a panic. Every process and server that was started ends when its value is dropped.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a test fails")]
#![expect(clippy::print_stderr, reason = "the output of a test is shown if it fails")]

mod binary;
mod browser;
mod certificates;
mod compose;
mod database;
mod disk;
mod engine;
mod event;
mod frame;
mod http;
mod load;
mod mariadb;
mod patience;
mod port;
mod process;
mod program;
mod promise;
mod proxy;
mod recorded_write;
mod recorder;
mod server;
mod socket;
mod subpath;
mod system;
mod tokens;
mod watch;
mod watched;

pub use binary::{BinaryRun, Build, binary, run_to_end};
pub use browser::Browser;
pub use certificates::Certificates;
pub use compose::Compose;
pub use database::{Database, Role};
pub use disk::DiskPart;
pub use engine::EngineKind;
pub use event::Event;
pub use frame::{Frame, RawSocket};
pub use history::{Did, Operation, ReplyOutcome, not_linearizable};
pub use http::{HttpConnection, Response, get, storage};
pub use load::{Load, Tally};
pub use patience::{PATIENCE, eventually, within};
pub use port::free_port;
pub use process::{ServiceProcess, signal};
pub use program::{docker, program_path};
pub use promise::{keep, measured, skip};
pub use proxy::Proxy;
pub use recorder::{Recorder, Recording};
pub use server::DatabaseServer;
pub use socket::{Closed, NotOpened, Socket, rev, write};
pub use subpath::SubpathProxy;
pub use system::System;
pub use tokens::Tokens;
pub use watch::{Heard, NotWatching, Watch};
pub use watched::{Held, Watched};
