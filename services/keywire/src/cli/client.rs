//! What the command line has of a running pair: where it is, a socket to write, requests to read.

mod dial;
mod failure;
mod fetch;
mod output;
mod reply;
mod roots;
mod socket;
mod target;

pub(crate) use dial::{Stream, authority, dial};
pub(crate) use failure::{Failure, finish};
pub(crate) use fetch::{encoded, fetch, fetch_at_leisure};
pub(crate) use output::{one_line, printed};
pub(crate) use reply::Answer;
pub(crate) use socket::{Ended, Socket};
pub(crate) use target::{Pair, Place, Side};
