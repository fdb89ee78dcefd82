//! Reads the lines of an import: each has a number and a bounded length.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use db::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use tokio::sync::mpsc::{Receiver, channel};

use crate::cli::delivery::{BadLine, Chunk, Line};

use super::{format, unreadable};

/// The most bytes of a line, which is also the limit of a message. In JSON a control character takes six bytes.
const LINE_BYTES_MAX: usize = 6 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 4096;

/// Some editors write it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A chunk ends when it has this many bytes, or when no further line is available yet.
const CHUNK_BYTES: usize = 256 * 1024;

/// The most bytes of the start of an input by which its format is recognized.
const START_BYTES: usize = 64 * 1024;

/// Reads `input` in a thread of its own, because an input that blocks must not stop the socket. One chunk is read ahead. An input
/// of another format gives a failure that says what to do, and no lines. `path` is the file of the input; `None` is stdin.
pub(super) fn read(mut input: impl io::Read + Send + 'static, path: Option<PathBuf>) -> Receiver<Chunk> {
    let (sender, chunks) = channel(1);
    std::thread::spawn(move || {
        let start = match read_start(&mut input) {
            Ok(start) => format::check(&start, path.as_deref()).map(|()| start),
            Err(error) => Err(unreadable(error)),
        };
        let mut lines = match start {
            Ok(start) => LineReader::new(io::Cursor::new(start).chain(input)),
            Err(failure) => {
                // The receiver may have been dropped.
                drop(sender.blocking_send(Err(failure)));
                return;
            }
        };
        loop {
            let chunk = lines.chunk().map_err(unreadable);
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

/// The first bytes of `input`, up to the end of the first line that is not blank or up to [`START_BYTES`].
fn read_start(input: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let (mut start, mut filled) = (vec![0; START_BYTES], 0);
    while filled < START_BYTES && !start[..filled].trim_ascii_start().contains(&b'\n') {
        match input.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    start.truncate(filled);
    Ok(start)
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
    fn chunk(&mut self) -> io::Result<Vec<Result<Line, BadLine>>> {
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
    fn next(&mut self) -> io::Result<Option<Result<Line, BadLine>>> {
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
                Ok(text) => Ok(Line::new(self.number, text, self.bytes)),
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
