//! Reads the lines of an import: each has a number, a bounded length, and the expiry that is checked before it is sent.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};

use db::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The most bytes of a line, which is also the limit of a message. In JSON a control character takes six bytes.
const LINE_BYTES_MAX: usize = 6 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 4096;

/// The most bytes of an `id`.
const ID_BYTES_MAX: usize = 128;

/// Some editors write it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A chunk ends when it has this many bytes, or when no further line is available yet.
const CHUNK_BYTES: usize = 256 * 1024;

/// A line that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportLine {
    /// Counted from 1. Blank lines count.
    pub(super) number: u64,
    pub(super) text: Utf8Bytes,
    /// When the entry expires, in microseconds since 1970. Known only for a set that the server accepts otherwise.
    expires_at: Option<u64>,
    /// Where the line ends in the input, in bytes.
    pub(super) end: u64,
}

/// A line that cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) number: u64,
    pub(super) why: String,
    pub(super) end: u64,
}

/// Lines that were read together, or the error that ended reading.
pub(super) type Chunk = io::Result<Vec<Result<ImportLine, BadLine>>>;

/// Reads `input` in a thread of its own, because an input that blocks must not stop the socket. One chunk is read ahead.
pub(super) fn read(input: impl io::Read + Send + 'static) -> Receiver<Chunk> {
    let (sender, chunks) = channel(1);
    std::thread::spawn(move || {
        let mut lines = LineReader::new(input);
        loop {
            let chunk = lines.chunk();
            let is_last = match &chunk {
                Ok(lines) if lines.is_empty() => return,
                Ok(_) => false,
                Err(_) => true,
            };
            // The receiver may have been dropped.
            if sender.blocking_send(chunk).is_err() || is_last {
                return;
            }
        }
    });
    chunks
}

impl ImportLine {
    pub(super) fn new(number: u64, text: String, end: u64) -> Self {
        Self { number, expires_at: expires_at(&text), text: text.into(), end }
    }

    /// Whether the entry has expired, by the clock of this machine.
    pub(super) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros());
        self.expires_at.is_some_and(|at| u128::from(at) <= now)
    }
}

/// The expiry of a set that the server accepts otherwise. Every other line is left to the server: a line that it refuses for
/// another reason must not count as expired.
fn expires_at(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Set<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        op: Option<Cow<'a, str>>,
        #[serde(borrow)]
        key: Cow<'a, str>,
        #[serde(borrow)]
        value: Cow<'a, str>,
        if_rev: Option<u64>,
        ttl: Option<IgnoredAny>,
        #[serde(borrow, rename = "traceparent")]
        _traceparent: Option<Cow<'a, str>>,
        expires_at: u64,
    }
    if !text.contains("\"expires_at\"") {
        return None;
    }
    let set: Set<'_> = serde_json::from_str(text).ok()?;
    let id_fits = set.id.is_none_or(|id| {
        let (id, first) = (id.get(), id.get().as_bytes()[0]);
        id.len() <= ID_BYTES_MAX && (first == b'"' || first == b'-' || first.is_ascii_digit())
    });
    let fits = id_fits
        && set.op.is_none_or(|op| op == "set")
        && (1..=KEY_BYTES_MAX).contains(&set.key.len())
        && set.value.len() <= VALUE_BYTES_MAX
        && set.if_rev.is_none_or(|rev| i64::try_from(rev).is_ok())
        && set.ttl.is_none();
    fits.then_some(set.expires_at)
}

/// Reads lines one by one, and chunks of lines.
struct LineReader<R> {
    input: BufReader<R>,
    number: u64,
    bytes: u64,
    /// An error that is returned after the lines before it.
    error: Option<io::Error>,
}

impl<R: io::Read> LineReader<R> {
    fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), number: 0, bytes: 0, error: None }
    }

    /// The available lines: at least one, or none at the end of the input.
    fn chunk(&mut self) -> Chunk {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let (mut chunk, from) = (Vec::new(), self.bytes);
        loop {
            match self.next() {
                Ok(Some(line)) => chunk.push(line),
                Ok(None) => break,
                Err(error) if chunk.is_empty() => return Err(error),
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
            let is_full = self.bytes - from >= CHUNK_BYTES as u64;
            if is_full || !self.input.buffer().contains(&b'\n') {
                break;
            }
        }
        Ok(chunk)
    }

    /// The next line that is not blank.
    fn next(&mut self) -> io::Result<Option<Result<ImportLine, BadLine>>> {
        loop {
            let mut text = Vec::new();
            let most = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut self.input).take(most).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            if text.last() == Some(&b'\n') {
                text.pop();
            }
            if self.number == 1 && text.starts_with(BYTE_ORDER_MARK) {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            if text.len() > LINE_BYTES_MAX {
                self.bytes += self.input.skip_until(b'\n')? as u64;
                return Ok(Some(Err(self.bad_line(format!("longer than {LINE_BYTES_MAX} bytes")))));
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match String::from_utf8(text) {
                Ok(text) => Ok(ImportLine::new(self.number, text, self.bytes)),
                Err(error) => {
                    let at = error.utf8_error().valid_up_to() + 1;
                    Err(self.bad_line(format!("not UTF-8 from byte {at} on")))
                }
            }));
        }
    }

    fn bad_line(&self, why: String) -> BadLine {
        BadLine { number: self.number, why, end: self.bytes }
    }
}

#[cfg(test)]
pub(super) fn line(number: u64, text: &str) -> ImportLine {
    ImportLine::new(number, text.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = LineReader::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("bytes in memory can be read") {
            all.push(match line {
                Ok(line) => (line.number, Ok(line.text.as_str().to_owned())),
                Err(bad) => (bad.number, Err(bad.why)),
            });
        }
        assert_eq!(lines.bytes, input.len() as u64, "all of it was read");
        all
    }

    #[test]
    fn blank_lines_are_counted_and_skipped_and_the_last_line_needs_no_end() {
        let lines = all(b"{}\n\n \t\r\n{\"a\":1}\r\nx");
        assert_eq!(lines, [(1, Ok("{}".into())), (4, Ok("{\"a\":1}\r".into())), (5, Ok("x".into()))]);
        assert_eq!(all(b""), []);
        assert_eq!(
            all(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}"),
            [(1, Ok("{}".into())), (2, Ok("\u{feff}{}".into()))]
        );
    }

    #[test]
    fn a_bad_line_does_not_affect_the_next() {
        let mut input = vec![b'x'; LINE_BYTES_MAX];
        input.push(b'\n');
        input.extend(vec![b'y'; LINE_BYTES_MAX + 100_000]);
        input.extend(b"\nab\xff\n{}\n");
        let lines = all(&input);
        assert_eq!(lines[0].1.as_ref().map(String::len), Ok(LINE_BYTES_MAX));
        assert_eq!(lines[1], (2, Err(format!("longer than {LINE_BYTES_MAX} bytes"))));
        assert_eq!(lines[2], (3, Err("not UTF-8 from byte 3 on".into())));
        assert_eq!(lines[3], (4, Ok("{}".into())));
    }

    #[test]
    fn only_a_valid_set_with_a_past_expiry_has_expired() {
        for (text, expired) in [
            (r#"{"key":"k","value":"v","expires_at":1}"#, true),
            (r#"{"expires_at":1,"key":"k","value":"expires_at"}"#, true),
            (r#"{"key":"k","value":"v","expires_at":9000000000000000}"#, false),
            (r#"{"key":"k","value":"v"}"#, false),
            (r#"{"key":"k","value":"v","expires_at":null}"#, false),
            (r#"{"key":"k","value":"v","expires_at":"1"}"#, false),
            (r#"{"key":"k","value":"v","expires_at":-1}"#, false),
            (r#"{"key":"k","value":"v","expires_at":1,"expires_at":1}"#, false),
            (r#"{"key":"k","expires_at":1"#, false),
            (r#"{"id":"7","op":"set","key":"k\n","value":"","if_rev":0,"ttl":null,"expires_at":1}"#, true),
            (r#"{"id":null,"op":null,"key":"k","value":"","if_rev":null,"expires_at":1}"#, true),
            // The server refuses or accepts these whatever the time is.
            (r#"{"op":"delete","key":"k","expires_at":1}"#, false),
            (r#"{"op":"put","key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":1,"expires_at":1}"#, false),
            (r#"{"key":"k","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","ttl":1,"expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","if_rev":9223372036854775808,"expires_at":1}"#, false),
            (r#"{"id":true,"key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","traceparent":1,"expires_at":1}"#, false),
            (r#"{"key":"k","key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","expires_at":1,"ifrev":0}"#, false),
        ] {
            assert_eq!(line(1, text).has_expired(), expired, "{text}");
        }
    }

    #[test]
    fn a_chunk_ends_when_no_further_line_is_available() {
        /// Returns its content piece by piece, as a pipe does.
        struct Pieces(Vec<&'static [u8]>);
        impl io::Read for Pieces {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() {
                    return Ok(0);
                }
                let piece = self.0.remove(0);
                to[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let mut lines = LineReader::new(Pieces(vec![b"1\n2\n3", b"\n4\n"]));
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(lines.chunk().expect("readable").len());
        }
        assert_eq!(sizes, [2, 2, 0]);
    }
}
