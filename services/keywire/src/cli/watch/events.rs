//! Parses a stream of server-sent events, piece by piece, in bounded memory. DECISIONS.md says why no crate does this.

use std::time::Duration;

/// The most bytes of a line, and of the data of an event. The largest value with every byte escaped is shorter.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
    /// The id that came with this event.
    pub(super) id: Option<String>,
}

/// What a stream brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Event(Event),
    /// How long to wait before the next connection.
    Retry(Duration),
}

/// A line or an event is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than 8 MiB")]
pub(super) struct TooLong;

/// The state of the parser between two pieces.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// The last byte was a carriage return. A line feed after it belongs to the same line end.
    after_return: bool,
    /// A line was read. Only the first one may begin with a byte order mark.
    has_begun: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl EventReader {
    /// The items that are complete with `piece`, the next bytes of the stream.
    ///
    /// # Errors
    /// [`TooLong`]: the stream cannot be read any further.
    pub(super) fn read(&mut self, mut piece: &[u8]) -> Result<Vec<Item>, TooLong> {
        let mut items = Vec::new();
        while let Some(&first) = piece.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &piece[..end.unwrap_or(piece.len())];
            if self.line.len() + part.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_return = piece[end] == b'\r';
            piece = &piece[end + 1..];
            items.extend(self.end_line()?);
        }
        Ok(items)
    }

    fn end_line(&mut self) -> Result<Option<Item>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = line.strip_prefix('\u{feff}').filter(|_| is_first).unwrap_or(&line);
        if line.is_empty() {
            return Ok(self.end_event().map(Item::Event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() >= EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Ok(value.parse().ok().map(|millis| Item::Retry(Duration::from_millis(millis))));
            }
            // A comment has no name. Other names may be added.
            _ => {}
        }
        Ok(None)
    }

    /// The event before a blank line; `None` without data.
    fn end_event(&mut self) -> Option<Event> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        let id = self.id.take();
        std::mem::take(&mut self.has_data).then_some(Event { name, data, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Item {
        Item::Event(Event { name: name.into(), data: data.into(), id: id.map(Into::into) })
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let stream = "\u{feff}retry: 2000\n\n:\n\nevent: put\r\ndata: {\"é\":\r\ndata:1}\r\n\r\n\revent:ready\rid: a:b\rdata: {}\r\r\
                      id\nretry: x1\nretry: \nother: x\n\nevent\ndata\n\nid: c\u{0}\ndata:  {}\n\nevent: cut off\ndata: {}\n";
        let expected = [
            Item::Retry(Duration::from_secs(2)),
            event("put", "{\"é\":\n1}", None),
            event("ready", "{}", Some("a:b")),
            event("", "", None),
            event("", " {}", None),
        ];
        for size in 1..=stream.len() {
            let mut reader = EventReader::default();
            let pieces = stream.as_bytes().chunks(size);
            let items: Vec<_> =
                pieces.flat_map(|piece| reader.read(piece).expect("all lines are short")).collect();
            assert_eq!(items, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_or_an_event_without_an_end_is_not_kept() {
        let (mut line, mut data) = (EventReader::default(), EventReader::default());
        let piece = vec![b'x'; 64 * 1024];
        let taken = (0..1000).take_while(|_| line.read(&piece).is_ok()).count();
        assert_eq!(taken, EVENT_BYTES_MAX / piece.len());
        let piece = [b"data:", &piece[..], b"\n"].concat();
        let taken = (0..1000).take_while(|_| data.read(&piece).is_ok()).count();
        assert_eq!(taken, EVENT_BYTES_MAX / piece.len());
    }
}
