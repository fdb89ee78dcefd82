//! The users of a database server.

/// A user of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Changes the schema, and grants rights.
    Migration,
    /// `ws-ingest`.
    Writer,
    /// `rest-read`.
    Reader,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Migration, Self::Writer, Self::Reader];

    /// The first letter of its user name.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Migration => 'm',
            Self::Writer => 'w',
            Self::Reader => 'r',
        }
    }
}
