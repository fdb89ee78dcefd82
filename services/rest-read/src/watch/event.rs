//! The events of a stream as bytes, in the form of server-sent events.

use db::Rev;

use crate::body;
use crate::watch::position::ResetReason;

/// Keeps a stream alive where nothing else does.
pub(crate) const COMMENT: &str = ":\n\n";

/// What is known of a key at the instant of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState<'v> {
    /// The key has this entry. `value` is `None` for a watch without values. `expires_at` is in microseconds since 1970.
    Put { value: Option<&'v str>, rev: Rev, expires_at: Option<u64> },
    /// The entry was deleted, by the write with this revision.
    Deleted { rev: Rev },
    /// The entry with this revision has expired.
    Expired { rev: Rev },
    /// There is no entry, and its row was removed: whether it was deleted or has expired is not known any more.
    Forgotten,
}

/// The event `put` or `delete` for `key`.
pub(crate) fn of_key(key: &str, state: KeyState<'_>) -> Vec<u8> {
    let mut event = Vec::with_capacity(match state {
        KeyState::Put { value, .. } => key.len() + value.map_or(0, str::len) + 96,
        KeyState::Deleted { .. } | KeyState::Expired { .. } | KeyState::Forgotten => key.len() + 96,
    });
    match state {
        KeyState::Put { value, rev, expires_at } => {
            event.extend_from_slice(b"event: put\ndata: ");
            body::item(&mut event, 0, key, value, rev);
            if let Some(expires_at) = expires_at {
                member(&mut event, b",\"expires_at\":", itoa::Buffer::new().format(expires_at));
            }
        }
        KeyState::Deleted { rev } | KeyState::Expired { rev } => {
            event.extend_from_slice(b"event: delete\ndata: ");
            body::item(&mut event, 0, key, None, rev);
            if matches!(state, KeyState::Expired { .. }) {
                member(&mut event, b",\"reason\":", "\"expired\"");
            }
        }
        KeyState::Forgotten => {
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

/// The event `ready`: everything up to `cursor` was sent. It is the first event with an id, and the first one after a `reset`.
pub(crate) fn ready(cursor: &str) -> String {
    format!("event: ready\nid: {cursor}\ndata: {{}}\n\n")
}

/// The event `progress`: everything up to `cursor` was sent. Every event with an id that is not `ready`.
pub(crate) fn progress(cursor: &str) -> String {
    format!("event: progress\nid: {cursor}\ndata: {{}}\n\n")
}

/// The event `reset`: what the client knows is void.
pub(crate) fn reset(reason: ResetReason) -> String {
    format!("event: reset\ndata: {{\"code\":\"{}\"}}\n\n", reason.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str, state: KeyState<'_>) -> String {
        String::from_utf8(of_key(key, state)).expect("an event is text")
    }

    #[test]
    fn events_are_exactly_what_the_contract_says() {
        let rev = Rev(12);
        let put = KeyState::Put { value: Some("x"), rev, expires_at: None };
        assert_eq!(
            text("user/1", put),
            "event: put\ndata: {\"key\":\"user/1\",\"value\":\"x\",\"rev\":12}\n\n"
        );
        let put = KeyState::Put { value: Some("y\n"), rev, expires_at: Some(1_795_517_777_251_129) };
        assert_eq!(
            text("user/2", put),
            "event: put\ndata: {\"key\":\"user/2\",\"value\":\"y\\n\",\"rev\":12,\"expires_at\":1795517777251129}\n\n"
        );
        let put = KeyState::Put { value: None, rev, expires_at: Some(1) };
        assert_eq!(text("a", put), "event: put\ndata: {\"key\":\"a\",\"rev\":12,\"expires_at\":1}\n\n");
        assert_eq!(
            text("a", KeyState::Deleted { rev }),
            "event: delete\ndata: {\"key\":\"a\",\"rev\":12}\n\n"
        );
        assert_eq!(
            text("a", KeyState::Expired { rev }),
            "event: delete\ndata: {\"key\":\"a\",\"rev\":12,\"reason\":\"expired\"}\n\n"
        );
        assert_eq!(text("a\"\r", KeyState::Forgotten), "event: delete\ndata: {\"key\":\"a\\\"\\r\"}\n\n");
        assert_eq!(ready("abc"), "event: ready\nid: abc\ndata: {}\n\n");
        assert_eq!(progress("abc"), "event: progress\nid: abc\ndata: {}\n\n");
        assert_eq!(reset(ResetReason::TooOld), "event: reset\ndata: {\"code\":\"too_old\"}\n\n");
        assert_eq!(retry(2000), "retry: 2000\n\n");
    }
}
