//! Reads the JSON that Django's `dumpdata` writes: one array of objects, however long it is.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use db::{ForeignCell, ForeignNames, ForeignRow};
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The most bytes of one object. Twice as many as the largest entry needs if every byte is escaped.
const OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A batch ends when it has so many rows, or so many bytes of them.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;

/// Some objects of the array.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<ForeignRow>,
    /// How many objects belong to other models.
    pub(super) others: u64,
}

/// One object of the array. The key is the primary key or one of the fields.
#[derive(Deserialize)]
struct Object {
    model: String,
    #[serde(default)]
    pk: Option<Value>,
    fields: Map<String, Value>,
}

/// An input that fails when an object is too long.
struct Bounded<R> {
    input: R,
    /// The bytes that were read since the last object ended.
    read: Rc<Cell<u64>>,
}

/// Gives the objects of the array to `batches`.
struct Objects<'a> {
    names: &'a ForeignNames,
    read: Rc<Cell<u64>>,
    batches: &'a Sender<serde_json::Result<Batch>>,
}

/// Reads `input` in a thread of its own, because it may block. One batch is read ahead.
pub(super) fn read(
    input: impl Read + Send + 'static,
    names: ForeignNames,
) -> Receiver<serde_json::Result<Batch>> {
    let (sender, batches) = channel(1);
    std::thread::spawn(move || {
        let read = Rc::new(Cell::new(0));
        let input = BufReader::with_capacity(64 * 1024, Bounded { input, read: Rc::clone(&read) });
        let mut json = serde_json::Deserializer::from_reader(input);
        let done = json.deserialize_seq(Objects { names: &names, read, batches: &sender });
        if let Err(error) = done.and_then(|()| json.end()) {
            // The receiver may have been dropped, which also ends the reading.
            drop(sender.blocking_send(Err(error)));
        }
    });
    batches
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let send =
            |batch| self.batches.blocking_send(Ok(batch)).map_err(|_| A::Error::custom("nobody reads on"));
        while let Some(object) = array.next_element::<Object>()? {
            self.read.set(0);
            match row(object, self.names) {
                Some(row) => {
                    bytes += row.bytes();
                    batch.rows.push(row);
                }
                None => batch.others += 1,
            }
            if bytes >= BATCH_BYTES || batch.rows.len() >= BATCH_ROWS {
                send(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        send(batch)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > OBJECT_BYTES_MAX {
            return Err(io::Error::other("an object has more than 16 MiB"));
        }
        let read = self.input.read(to)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// The row of an object, unless it belongs to another model. The table of a model is named like the model.
fn row(mut object: Object, names: &ForeignNames) -> Option<ForeignRow> {
    if object.model.replacen('.', "_", 1) != names.table {
        return None;
    }
    let value = object.fields.remove(&names.value);
    let key = object.fields.remove(&names.key).or(object.pk);
    Some(ForeignRow { key: cell(key), value: cell(value) })
}

fn cell(value: Option<Value>) -> ForeignCell {
    match value {
        Some(Value::String(text)) => ForeignCell::text(text),
        Some(Value::Null) => ForeignCell::other("null"),
        Some(Value::Bool(_)) => ForeignCell::other("boolean"),
        Some(Value::Number(_)) => ForeignCell::other("number"),
        Some(Value::Array(_)) => ForeignCell::other("array"),
        Some(Value::Object(_)) => ForeignCell::other("object"),
        None => ForeignCell::other("absent"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows, the number of other objects, and the error that ended reading.
    fn all(json: impl Read + Send + 'static) -> (Vec<ForeignRow>, u64, Option<String>) {
        let names =
            ForeignNames { table: "storage_keyvaluepair".into(), key: "key".into(), value: "value".into() };
        let (mut batches, mut rows, mut others) = (read(json, names), Vec::new(), 0);
        while let Some(batch) = batches.blocking_recv() {
            match batch {
                Ok(batch) => {
                    rows.extend(batch.rows);
                    others += batch.others;
                }
                Err(error) => return (rows, others, Some(error.to_string())),
            }
        }
        (rows, others, None)
    }

    fn row(key: ForeignCell, value: ForeignCell) -> ForeignRow {
        ForeignRow { key, value }
    }

    #[test]
    fn objects_of_the_model_are_rows_and_others_are_counted() {
        let json = br#"[{"model": "storage.keyvaluepair", "pk": "", "fields": {"value": ""}},
            {"model": "auth.user", "pk": 1, "fields": {"value": "x", "groups": []}},
            {"model": "storage.keyvaluepair", "pk": "a\ud83d\ude00", "fields": {"value": "v\n\u0001\""}},
            {"model": "storage.keyvaluepair", "pk": 7, "fields": {"key": "k", "value": null}},
            {"model": "storage.keyvaluepair", "pk": 8, "fields": {}}]
        "#;
        let text = |text: &str| ForeignCell::text(text.into());
        let rows = vec![
            row(text(""), text("")),
            row(text("a\u{1f600}"), text("v\n\u{1}\"")),
            row(text("k"), ForeignCell::other("null")),
            row(ForeignCell::other("number"), ForeignCell::other("absent")),
        ];
        assert_eq!(all(&json[..]), (rows, 1, None));
        assert_eq!(all(&b"[]"[..]), (Vec::new(), 0, None));
    }

    #[test]
    fn a_file_that_ends_early_or_is_something_else_is_an_error() {
        let (rows, _, error) =
            all(&br#"[{"model": "storage.keyvaluepair", "pk": "a", "fields": {"value": "v"}}, {"#[..]);
        assert!(rows.len() <= 1 && error.is_some(), "{error:?}");
        for json in [&b""[..], b"SQLite format 3\0", b"[] []", b"{}", b"[1]", b"[{}]"] {
            assert!(all(json).2.is_some(), "{}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn an_endless_object_is_an_error() {
        let begin = &br#"[{"model": "m", "pk": ""#[..];
        let (_, _, error) = all(begin.chain(io::repeat(b'x')));
        let error = error.unwrap_or_default();
        assert!(error.starts_with("an object has more than 16 MiB"), "{error}");
    }
}
