//! What the command line has of a running pair: where it is, a socket to write, requests to read.

mod answer;
mod dial;
mod failure;
mod fetch;
mod place;
mod printed;
mod roots;
mod socket;

pub(crate) use answer::Answer;
pub(crate) use dial::{Stream, authority, dial};
pub(crate) use failure::{Failure, finish};
pub(crate) use fetch::{encoded, fetch, fetch_at_leisure};
pub(crate) use place::{Pair, Place, Side};
pub(crate) use printed::{one_line, printed};
pub(crate) use socket::{Ended, Socket};
