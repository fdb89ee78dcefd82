//! The events of a stream as bytes, in the form of server-sent events.

use db::Rev;

use crate::body;
use crate::watch::position::ResetReason;

/// Keeps a stream alive where nothing else does.
pub(crate) const COMMENT: &str = ":\n\n";

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News<'n> {
    /// The entry is there. Without a value for a watch that wants none.
    Put { value: Option<&'n str>, rev: Rev, expires_at: Option<u64> },
    /// The entry was deleted.
    Deleted { rev: Rev },
    /// The entry has expired.
    Expired { rev: Rev },
    /// There is no entry, and nobody knows any more how it went.
    Forgotten,
}

/// The event that tells `news` of `key`.
pub(crate) fn of_key(key: &str, news: News<'_>) -> Vec<u8> {
    let mut event = Vec::with_capacity(match news {
        News::Put { value, .. } => key.len() + value.map_or(0, str::len) + 96,
        News::Deleted { .. } | News::Expired { .. } | News::Forgotten => key.len() + 96,
    });
    match news {
        News::Put { value, rev, expires_at } => {
            event.extend_from_slice(b"event: put\ndata: ");
            body::item(&mut event, 0, key, value, rev);
            if let Some(expires_at) = expires_at {
                member(&mut event, b",\"expires_at\":", itoa::Buffer::new().format(expires_at));
            }
        }
        News::Deleted { rev } | News::Expired { rev } => {
            event.extend_from_slice(b"event: delete\ndata: ");
            body::item(&mut event, 0, key, None, rev);
            if matches!(news, News::Expired { .. }) {
                member(&mut event, b",\"reason\":", "\"expired\"");
            }
        }
        News::Forgotten => {
            event.extend_from_slice(b"event: delete\ndata: {\"key\":");
            body::string(&mut event, key);
            event.push(b'}');
        }
    }
    event.extend_from_slice(b"\n\n");
    event
}

/// Adds a member to the object at the end of `event`.
fn member(event: &mut Vec<u8>, name: &[u8], value: &str) {
    assert_eq!(event.pop(), Some(b'}'), "an event ends with its object");
    event.extend_from_slice(name);
    event.extend_from_slice(value.as_bytes());
    event.push(b'}');
}

/// The first line of a stream: after how many milliseconds a client comes back.
pub(crate) fn retry(millis: u64) -> String {
    format!("retry: {millis}\n\n")
}

/// Everything up to `cursor` was sent. The first one of a stream.
pub(crate) fn ready(cursor: &str) -> String {
    format!("event: ready\nid: {cursor}\ndata: {{}}\n\n")
}

/// Everything up to `cursor` was sent. Each one after the first.
pub(crate) fn progress(cursor: &str) -> String {
    format!("event: progress\nid: {cursor}\ndata: {{}}\n\n")
}

/// What the client knows is void.
pub(crate) fn reset(reason: ResetReason) -> String {
    format!("event: reset\ndata: {{\"code\":\"{}\"}}\n\n", reason.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str, news: News<'_>) -> String {
        String::from_utf8(of_key(key, news)).expect("an event is text")
    }

    #[test]
    fn events_are_exactly_what_the_contract_says() {
        let rev = Rev(12);
        let put = News::Put { value: Some("x"), rev, expires_at: None };
        assert_eq!(
            text("user/1", put),
            "event: put\ndata: {\"key\":\"user/1\",\"value\":\"x\",\"rev\":12}\n\n"
        );
        let put = News::Put { value: Some("y\n"), rev, expires_at: Some(1_795_517_777_251_129) };
        assert_eq!(
            text("user/2", put),
            "event: put\ndata: {\"key\":\"user/2\",\"value\":\"y\\n\",\"rev\":12,\"expires_at\":1795517777251129}\n\n"
        );
        let put = News::Put { value: None, rev, expires_at: Some(1) };
        assert_eq!(text("a", put), "event: put\ndata: {\"key\":\"a\",\"rev\":12,\"expires_at\":1}\n\n");
        assert_eq!(text("a", News::Deleted { rev }), "event: delete\ndata: {\"key\":\"a\",\"rev\":12}\n\n");
        assert_eq!(
            text("a", News::Expired { rev }),
            "event: delete\ndata: {\"key\":\"a\",\"rev\":12,\"reason\":\"expired\"}\n\n"
        );
        assert_eq!(text("a\"\r", News::Forgotten), "event: delete\ndata: {\"key\":\"a\\\"\\r\"}\n\n");
        assert_eq!(ready("abc"), "event: ready\nid: abc\ndata: {}\n\n");
        assert_eq!(progress("abc"), "event: progress\nid: abc\ndata: {}\n\n");
        assert_eq!(reset(ResetReason::TooOld), "event: reset\ndata: {\"code\":\"too_old\"}\n\n");
        assert_eq!(retry(2000), "retry: 2000\n\n");
    }
}
