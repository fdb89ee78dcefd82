//! The client that the commands share: it connects to a running server, sends writes over the WebSocket and reads over HTTP.

mod dial;
mod failure;
mod fetch;
mod output;
mod reply;
mod roots;
mod server_certificate;
mod socket;
mod target;

pub(crate) use chassis::process::terminal::one_line;
pub(crate) use dial::{Connection, authority, dial};
pub(crate) use failure::{Failure, signal_exit_code};
pub(crate) use fetch::{Fetched, Opened, encoded, fetch, fetch_events, fetch_slowly};
pub(crate) use output::{finish, printed};
pub(crate) use reply::Reply;
pub(crate) use socket::{Socket, SocketError};
pub(crate) use target::{ReadTargetArgs, Target, TargetArgs};
