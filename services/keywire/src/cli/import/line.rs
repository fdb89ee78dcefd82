//! The lines of an input: numbered, bounded, each with what is to be known of it before it is sent.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};

use db::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The most bytes of a line: in JSON a control character takes six bytes. The socket takes no longer message.
const LINE_BYTES_MAX: usize = 6 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 4096;

/// The most bytes of an `id`.
const ID_BYTES_MAX: usize = 128;

/// What editors of some systems put before the first line of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines are handed over when they have this many bytes, or when no more are there yet.
const BATCH_BYTES: usize = 256 * 1024;

/// A line that asks for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, blank lines too.
    pub(super) number: u64,
    pub(super) text: Utf8Bytes,
    /// When what it writes expires, in microseconds since 1970. Only of a set that nothing else is wrong with.
    expires_at: Option<u64>,
    /// Bytes of the input up to its end.
    pub(super) end: u64,
}

/// A line that cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) number: u64,
    pub(super) what: String,
    pub(super) end: u64,
}

/// Lines as they were read, or why reading ended too early.
pub(super) type Batch = io::Result<Vec<Result<Line, Flaw>>>;

/// Reads `input` in a thread of its own: an input that lets one wait does not keep the socket from being served.
/// Little is read ahead.
pub(super) fn read(input: impl io::Read + Send + 'static) -> Receiver<Batch> {
    let (found, batches) = channel(1);
    std::thread::spawn(move || {
        let mut lines = Lines::new(input);
        loop {
            let batch = lines.batch();
            let last = match &batch {
                Ok(lines) if lines.is_empty() => return,
                Ok(_) => false,
                Err(_) => true,
            };
            // Whoever wanted the lines may be gone.
            if found.blocking_send(batch).is_err() || last {
                return;
            }
        }
    });
    batches
}

impl Line {
    fn new(number: u64, text: String, end: u64) -> Self {
        Self { number, expires_at: expires_at(&text), text: text.into(), end }
    }

    /// Whether what it writes has expired by now, by this machine's clock.
    pub(super) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros());
        self.expires_at.is_some_and(|at| u128::from(at) <= now)
    }
}

/// When what a set writes expires, if nothing is wrong with it. All else is for the service to judge: a line it would refuse
/// is not one that came too late.
fn expires_at(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
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

struct Lines<R> {
    input: BufReader<R>,
    number: u64,
    bytes: u64,
    /// What comes after the lines that were read before it.
    error: Option<io::Error>,
}

impl<R: io::Read> Lines<R> {
    fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), number: 0, bytes: 0, error: None }
    }

    /// The lines that are there, at least one; none at the end.
    fn batch(&mut self) -> Batch {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let (mut batch, from) = (Vec::new(), self.bytes);
        loop {
            match self.next() {
                Ok(Some(line)) => batch.push(line),
                Ok(None) => break,
                Err(error) if batch.is_empty() => return Err(error),
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
            let is_full = self.bytes - from >= BATCH_BYTES as u64;
            if is_full || !self.input.buffer().contains(&b'\n') {
                break;
            }
        }
        Ok(batch)
    }

    /// The next line that is not blank.
    fn next(&mut self) -> io::Result<Option<Result<Line, Flaw>>> {
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
                return Ok(Some(Err(self.flaw(format!("longer than {LINE_BYTES_MAX} bytes")))));
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match String::from_utf8(text) {
                Ok(text) => Ok(Line::new(self.number, text, self.bytes)),
                Err(error) => {
                    let at = error.utf8_error().valid_up_to() + 1;
                    Err(self.flaw(format!("not UTF-8 from its byte {at} on")))
                }
            }));
        }
    }

    fn flaw(&self, what: String) -> Flaw {
        Flaw { number: self.number, what, end: self.bytes }
    }
}

#[cfg(test)]
pub(super) fn line(number: u64, text: &str) -> Line {
    Line::new(number, text.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("bytes in memory can be read") {
            all.push(match line {
                Ok(line) => (line.number, Ok(line.text.as_str().to_owned())),
                Err(flaw) => (flaw.number, Err(flaw.what)),
            });
        }
        assert_eq!(lines.bytes, input.len() as u64, "all of it was read");
        all
    }

    #[test]
    fn blank_lines_count_and_are_skipped_and_the_last_needs_no_end() {
        let lines = all(b"{}\n\n \t\r\n{\"a\":1}\r\nx");
        assert_eq!(lines, [(1, Ok("{}".into())), (4, Ok("{\"a\":1}\r".into())), (5, Ok("x".into()))]);
        assert_eq!(all(b""), []);
        assert_eq!(
            all(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}"),
            [(1, Ok("{}".into())), (2, Ok("\u{feff}{}".into()))]
        );
    }

    #[test]
    fn a_line_that_cannot_be_sent_is_told_from_the_next() {
        let mut input = vec![b'x'; LINE_BYTES_MAX];
        input.push(b'\n');
        input.extend(vec![b'y'; LINE_BYTES_MAX + 100_000]);
        input.extend(b"\nab\xff\n{}\n");
        let lines = all(&input);
        assert_eq!(lines[0].1.as_ref().map(String::len), Ok(LINE_BYTES_MAX));
        assert_eq!(lines[1], (2, Err(format!("longer than {LINE_BYTES_MAX} bytes"))));
        assert_eq!(lines[2], (3, Err("not UTF-8 from its byte 3 on".into())));
        assert_eq!(lines[3], (4, Ok("{}".into())));
    }

    #[test]
    fn what_has_expired_is_known_and_what_is_no_time_is_not_judged() {
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
            (
                r#"{"id":"7","op":"set","key":"k\n","value":"","if_rev":0,"ttl":null,"expires_at":1,"x":[]}"#,
                true,
            ),
            (r#"{"id":null,"op":null,"key":"k","value":"","if_rev":null,"expires_at":1}"#, true),
            // What the service refuses, or takes, whenever it comes.
            (r#"{"op":"delete","key":"k","expires_at":1}"#, false),
            (r#"{"op":"put","key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":1,"expires_at":1}"#, false),
            (r#"{"key":"k","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","ttl":1,"expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","if_rev":9223372036854775808,"expires_at":1}"#, false),
            (r#"{"id":true,"key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","key":"k","value":"v","expires_at":1}"#, false),
        ] {
            assert_eq!(line(1, text).has_expired(), expired, "{text}");
        }
    }

    #[test]
    fn lines_are_handed_over_when_no_more_are_there_yet() {
        /// Gives what it has piece by piece, as a pipe does.
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
        let mut lines = Lines::new(Pieces(vec![b"1\n2\n3", b"\n4\n"]));
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(lines.batch().expect("readable").len());
        }
        assert_eq!(sizes, [2, 2, 0]);
    }
}
