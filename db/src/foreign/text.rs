//! The text of every statement on a table of another program and on the private copy of it.

use super::ForeignNames;
use crate::entry::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// `name` as an identifier. Both engines know backticks; `SQLite` would take an unknown name in double quotes for a text.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// For a connection to the other program's server. The rows may come slowly while the copy is written.
pub(super) const SETTINGS: [&str; 2] = ["set session transaction read only", "set net_write_timeout = 600"];

/// The type and the collation of a column that this user may read.
pub(super) const COLUMN: &str = "select cast(data_type as char), cast(collation_name as char) from information_schema.columns \
    where table_schema = database() and table_name = ? and column_name = ?";

/// A column of `MySQL` as UTF-8, whatever its character set is. As a number of bytes, not of characters.
pub(super) fn utf8(column: &str) -> String {
    format!("cast(convert({} using utf8mb4) as binary)", quoted(column))
}

/// A column of `MySQL` without a character set.
pub(super) fn bytes(column: &str) -> String {
    quoted(column)
}

/// All rows of a table on `MySQL`: key, its length, value, its length. Of a long key only the beginning, of a long value nothing.
pub(super) fn rows(names: &ForeignNames, key: &str, value: &str) -> String {
    format!(
        "select substring({key}, 1, {KEY_BYTES_MAX} + 1), cast(octet_length({key}) as signed), \
         if(octet_length({value}) <= {VALUE_BYTES_MAX}, {value}, ''), cast(octet_length({value}) as signed) from {}",
        quoted(&names.table)
    )
}

/// The encoding of an `SQLite` database.
pub(super) const ENCODING: &str = "pragma main.encoding";

/// The copy. Temporary tables may be made on a connection that only reads.
pub(super) const CREATE: &str = "create temp table copy (key_kind text not null, key blob not null, key_len integer not null, \
    value_kind text not null, value blob not null, value_len integer not null)";

/// It is not needed after a failure, so nothing has to be undone.
pub(super) const UNJOURNALED: &str = "pragma temp.journal_mode = off";

/// Copies all rows of an `SQLite` table.
pub(super) fn copy(names: &ForeignNames) -> String {
    let (key, value) = (quoted(&names.key), quoted(&names.value));
    format!(
        "insert into temp.copy select typeof({key}), coalesce(substr(cast({key} as blob), 1, {KEY_BYTES_MAX} + 1), x''), \
         coalesce(octet_length({key}), 0), typeof({value}), \
         case when octet_length({value}) <= {VALUE_BYTES_MAX} then cast({value} as blob) else x'' end, \
         coalesce(octet_length({value}), 0) from main.{}",
        quoted(&names.table)
    )
}

/// Adds rows to the copy.
pub(super) fn insert(rows: usize) -> String {
    let values = vec!["(?, ?, ?, ?, ?, ?)"; rows].join(", ");
    format!("insert into temp.copy values {values}")
}

/// Puts the copy in byte order. Its rows are numbered in the order of the source.
pub(super) const SORT: &str = "create index temp.by_key on copy (key)";

/// The number of rows in the copy.
pub(super) const COUNT: &str = "select count(*) from temp.copy";

/// Rows behind a key and a number.
pub(super) const NEXT: &str = "select key_kind, key, key_len, value_kind, value, value_len, rowid from temp.copy \
    where (key, rowid) > (?, ?) order by key, rowid limit 256";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_backticks_stays_a_name() {
        assert_eq!(quoted("a`; drop table b; `"), "`a``; drop table b; ```");
        assert_eq!(quoted("key"), "`key`");
    }
}
