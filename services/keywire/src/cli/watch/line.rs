//! An event as one line: for a person, or as JSON for a program.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::Event;
use crate::cli::client::Failure;
use crate::cli::shown::shown;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// The data of a `put` or a `delete`.
#[derive(Deserialize)]
struct Change {
    key: String,
    value: Option<String>,
    rev: Option<u64>,
    /// Microseconds since 1970.
    expires_at: Option<u64>,
    reason: Option<String>,
}

/// The data of a `reset`.
#[derive(Deserialize)]
struct Reset {
    code: String,
}

impl Form {
    /// Adds the line of `event` to `lines`. As text, `progress` and unknown events have no line.
    pub(super) fn write(self, event: &Event, lines: &mut Vec<u8>) -> Result<(), Failure> {
        let line = match self {
            Self::Json => Some(json(event)),
            Self::Text => text(event, SystemTime::now()).transpose(),
        };
        let Some(line) = line else { return Ok(()) };
        let line = line
            .map_err(|error| Failure::Refused(format!("not an event of Keywire: {}: {error}", event.name)))?;
        writeln!(lines, "{line}").expect("memory can always be written");
        Ok(())
    }
}

/// The data of the event as one line, with the members `event` and `id` put first.
fn json(event: &Event) -> serde_json::Result<String> {
    // A map, because the data must be an object.
    serde_json::from_str::<BTreeMap<String, &RawValue>>(&event.data)?;
    let name = serde_json::Value::from(event.name.as_str());
    let id = event.id.as_deref().map(serde_json::Value::from);
    let mut line = match id {
        None => format!(r#"{{"event":{name}"#),
        Some(id) => format!(r#"{{"event":{name},"id":{id}"#),
    };
    let members = event.data.trim_start().strip_prefix('{').expect("it is an object").trim_start();
    if !members.starts_with('}') {
        line.push(',');
    }
    // A line end can only be between two members: a string has it escaped.
    line.extend(members.trim_end().chars().map(|char| if matches!(char, '\n' | '\r') { ' ' } else { char }));
    Ok(line)
}

fn text(event: &Event, now: SystemTime) -> serde_json::Result<Option<String>> {
    let is_put = match event.name.as_str() {
        "put" => true,
        "delete" => false,
        "ready" => return Ok(Some("ready".into())),
        "reset" => {
            let Reset { code } = serde_json::from_str(&event.data)?;
            return Ok(Some(format!("reset  ({code}: forget what came before, all that is there follows)")));
        }
        _ => return Ok(None),
    };
    let change: Change = serde_json::from_str(&event.data)?;
    let what = if is_put { "put" } else { "delete" };
    let value = change.value.as_deref().map(|value| format!(" = {}", shown(value))).unwrap_or_default();
    let notes = [
        change.rev.map(|rev| format!("rev {rev}")),
        change.expires_at.map(|at| format!("expires in {} s", seconds_until(at, now))),
        change.reason.map(|reason| shown(&reason).into_owned()),
    ];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
    Ok(Some(format!("{what} {}{value}{notes}", shown(&change.key))))
}

/// Whole seconds, rounded up, until `at`, in microseconds since 1970. 0 in the past.
fn seconds_until(at: u64, now: SystemTime) -> u64 {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    at.saturating_sub(u64::try_from(now).unwrap_or(u64::MAX)).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event { name: name.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn a_person_reads_one_line_for_each_event() {
        let table = [
            ("put", r#"{"key":"user/1","value":"x","rev":15}"#, Some("put user/1 = x  (rev 15)")),
            ("put", r#"{"key":"user/1","rev":15}"#, Some("put user/1  (rev 15)")),
            ("put", r#"{"key":"a\nb","value":"\"c\nd","rev":1}"#, Some(r#"put "a\nb" = "\"c\nd"  (rev 1)"#)),
            (
                "put",
                r#"{"key":"k","value":"","rev":15,"expires_at":100000000}"#,
                Some("put k =   (rev 15, expires in 41 s)"),
            ),
            ("put", r#"{"key":"k","rev":1,"expires_at":1}"#, Some("put k  (rev 1, expires in 0 s)")),
            ("delete", r#"{"key":"user/1","rev":16}"#, Some("delete user/1  (rev 16)")),
            (
                "delete",
                r#"{"key":"user/1","rev":12,"reason":"expired"}"#,
                Some("delete user/1  (rev 12, expired)"),
            ),
            ("delete", r#"{"key":"user/1"}"#, Some("delete user/1")),
            ("ready", "{}", Some("ready")),
            ("progress", "{}", None),
            (
                "reset",
                r#"{"code":"too_old"}"#,
                Some("reset  (too_old: forget what came before, all that is there follows)"),
            ),
            ("of the future", "[]", None),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(59_001);
        for (name, data, line) in table {
            assert_eq!(text(&event(name, data, None), now).expect("it is valid").as_deref(), line);
        }
        assert!(text(&event("put", r#"{"rev":1}"#, None), now).is_err());
    }

    #[test]
    fn a_program_reads_the_exact_event() {
        let table = [
            (
                "put",
                r#"{"key":"é\n","value":"x", "rev":15}"#,
                None,
                r#"{"event":"put","key":"é\n","value":"x", "rev":15}"#,
            ),
            ("ready", "{}", Some("AUB-_"), r#"{"event":"ready","id":"AUB-_"}"#),
            ("pro\"gress", " {\n} ", Some(""), r#"{"event":"pro\"gress","id":""}"#),
            ("more", "{\"a\":\n[1]}", None, r#"{"event":"more","a": [1]}"#),
        ];
        for (name, data, id, line) in table {
            assert_eq!(json(&event(name, data, id)).expect("it is an object"), line);
        }
        for data in ["", "[]", "1", "{", "{} {}"] {
            assert!(json(&event("put", data, None)).is_err(), "{data:?}");
        }
    }
}
