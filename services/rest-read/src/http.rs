//! HTTP: the operations, their parameters and replies, and the documents.

pub(crate) mod api;
mod bearer;
pub(crate) mod documents;
pub(crate) mod etag;
pub(crate) mod fast_path;
mod parameters;
pub(crate) mod reply;
mod schema;
