//! The events of a watch, parsed strictly: each must have exactly the bytes that the contract says.

use serde_json::Value;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key holds this now.
    Put {
        /// The key.
        key: String,
        /// The value. `None` if the watch wants none.
        value: Option<String>,
        /// The revision.
        rev: u64,
        /// When the entry expires, in microseconds since 1970.
        expires_at: Option<u64>,
    },
    /// The key holds nothing now.
    Delete {
        /// The key.
        key: String,
        /// The revision of the delete, or of the entry that has expired. `None`: the store has forgotten it.
        rev: Option<u64>,
        /// Whether the entry has expired.
        expired: bool,
    },
    /// Everything up to this cursor was sent. The stream is live from here on.
    Ready(String),
    /// Everything up to this cursor was sent.
    Progress(String),
    /// What the client knows is void, for the reason with this code.
    Reset(String),
}

/// A piece of a stream, up to an empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// How long a client waits before it comes back, in milliseconds.
    Retry(u64),
    Comment,
    Event(Event),
}

impl Event {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => Some(key),
            Self::Ready(_) | Self::Progress(_) | Self::Reset(_) => None,
        }
    }

    /// The cursor that it brings.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Ready(cursor) | Self::Progress(cursor) => Some(cursor),
            Self::Put { .. } | Self::Delete { .. } | Self::Reset(_) => None,
        }
    }

    /// A put or a delete from its data.
    fn of_key(name: &str, data: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(data).ok()?;
        let key = json["key"].as_str()?.to_owned();
        let rev = json["rev"].as_u64();
        match name {
            "put" => {
                let value = json["value"].as_str().map(ToOwned::to_owned);
                Some(Self::Put { key, value, rev: rev?, expires_at: json["expires_at"].as_u64() })
            }
            "delete" => Some(Self::Delete { key, rev, expired: json["reason"] == "expired" }),
            _ => None,
        }
    }

    /// The lines of the event, as the stream has them.
    #[must_use]
    pub fn lines(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let member = |name: &str, value: Option<String>| {
            value.map_or(String::new(), |value| format!(",\"{name}\":{value}"))
        };
        match self {
            Self::Put { key, value, rev, expires_at } => {
                let value = member("value", value.as_deref().map(text));
                let expires_at = member("expires_at", expires_at.map(|at| at.to_string()));
                format!("event: put\ndata: {{\"key\":{}{value},\"rev\":{rev}{expires_at}}}", text(key))
            }
            Self::Delete { key, rev, expired } => {
                let rev = member("rev", rev.map(|rev| rev.to_string()));
                let reason = member("reason", expired.then(|| text("expired")));
                format!("event: delete\ndata: {{\"key\":{}{rev}{reason}}}", text(key))
            }
            Self::Ready(cursor) => format!("event: ready\nid: {cursor}\ndata: {{}}"),
            Self::Progress(cursor) => format!("event: progress\nid: {cursor}\ndata: {{}}"),
            Self::Reset(code) => format!("event: reset\ndata: {{\"code\":\"{code}\"}}"),
        }
    }
}

impl Block {
    /// Parses a block without the empty line after it.
    ///
    /// # Errors
    /// It is none of the contract's.
    pub(crate) fn parse(block: &str) -> Result<Self, String> {
        let other = || format!("not in the form of the contract: {block:?}");
        if block == ":" {
            return Ok(Self::Comment);
        }
        if let Some(millis) = block.strip_prefix("retry: ") {
            return millis.parse().map(Self::Retry).map_err(|_| other());
        }
        let fields: Vec<(&str, &str)> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        let event = match fields[..] {
            [("event", "ready"), ("id", cursor), ("data", _)] => Some(Event::Ready(cursor.to_owned())),
            [("event", "progress"), ("id", cursor), ("data", _)] => Some(Event::Progress(cursor.to_owned())),
            [("event", "reset"), ("data", data)] => {
                let json: Value = serde_json::from_str(data).map_err(|_| other())?;
                json["code"].as_str().map(|code| Event::Reset(code.to_owned()))
            }
            [("event", name), ("data", data)] => Event::of_key(name, data),
            _ => None,
        };
        // Members in another order, more members or blanks would make other lines.
        event.filter(|event| event.lines() == block).map(Self::Event).ok_or_else(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_the_contract_are_understood() {
        let put = |value: Option<&str>, expires_at| {
            let value = value.map(ToOwned::to_owned);
            Block::Event(Event::Put { key: "user/1".into(), value, rev: 12, expires_at })
        };
        let delete = |rev, expired| Block::Event(Event::Delete { key: "user/1".into(), rev, expired });
        for (block, expected) in [
            ("retry: 2000", Block::Retry(2000)),
            (":", Block::Comment),
            ("event: put\ndata: {\"key\":\"user/1\",\"value\":\"x\",\"rev\":12}", put(Some("x"), None)),
            ("event: put\ndata: {\"key\":\"user/1\",\"rev\":12,\"expires_at\":7}", put(None, Some(7))),
            ("event: ready\nid: a-_1\ndata: {}", Block::Event(Event::Ready("a-_1".into()))),
            ("event: progress\nid: a\ndata: {}", Block::Event(Event::Progress("a".into()))),
            ("event: delete\ndata: {\"key\":\"user/1\",\"rev\":16}", delete(Some(16), false)),
            (
                "event: delete\ndata: {\"key\":\"user/1\",\"rev\":12,\"reason\":\"expired\"}",
                delete(Some(12), true),
            ),
            ("event: delete\ndata: {\"key\":\"user/1\"}", delete(None, false)),
            ("event: reset\ndata: {\"code\":\"too_old\"}", Block::Event(Event::Reset("too_old".into()))),
        ] {
            assert_eq!(Block::parse(block), Ok(expected));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for block in [
            "",
            ": ping",
            "retry:2000",
            "event: put\ndata: {\"key\":\"a\",\"value\":\"x\"}",
            "event: put\ndata: {\"value\":\"x\",\"key\":\"a\",\"rev\":1}",
            "event: put\ndata: {\"key\":\"a\",\"value\":\"x\",\"rev\":1,\"status\":200}",
            "event: put\ndata: {\"key\":\"a\", \"value\":\"x\",\"rev\":1}",
            "event: put\nid: c\ndata: {\"key\":\"a\",\"value\":\"x\",\"rev\":1}",
            "event:put\ndata: {\"key\":\"a\",\"value\":\"x\",\"rev\":1}",
            "data: {\"key\":\"a\",\"value\":\"x\",\"rev\":1}",
            "event: delete\ndata: {\"key\":\"a\",\"reason\":\"deleted\"}",
            "event: ready\ndata: {}\nid: c",
            "event: ready\nid: c\ndata: {}\nretry: 1",
            "event: progress\nid: c\ndata: {\"a\":1}",
            "event: reset\nid: c\ndata: {\"code\":\"too_old\"}",
            "event: touch\ndata: {\"key\":\"a\",\"rev\":1}",
        ] {
            assert!(Block::parse(block).is_err(), "{block:?}");
        }
    }
}
