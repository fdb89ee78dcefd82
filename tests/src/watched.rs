//! What a client knows from the events of a watch, across streams that are cut off and resumed.

use std::collections::BTreeMap;

use crate::event::Event;

/// An entry as a watch has told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The value. `None` if the watch wants none.
    pub value: Option<String>,
    /// The revision.
    pub rev: u64,
}

/// The state of a client that applies at each cursor what came up to it.
#[derive(Debug, Default)]
pub struct Watched {
    entries: BTreeMap<String, Held>,
    cursor: Option<String>,
    /// What came since the last cursor.
    pending: Vec<Event>,
    /// Whether the stream has said `ready`.
    is_live: bool,
    /// Whether the next `ready` ends a snapshot of everything.
    is_anew: bool,
    /// The newest that was ever told of each key: the revision, and whether the key was gone.
    newest: BTreeMap<String, (u64, bool)>,
    /// The codes of the resets.
    pub resets: Vec<String>,
}

impl Watched {
    /// A client that knows nothing, and asks for everything that is there.
    #[must_use]
    pub fn new() -> Self {
        Self { is_anew: true, ..Self::default() }
    }

    /// What it knows at the last cursor.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<String, Held> {
        &self.entries
    }

    /// The cursor to resume with.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The stream was cut off.
    pub fn cut(&mut self) {
        self.pending.clear();
        self.is_live = false;
        self.is_anew = self.cursor.is_none();
    }

    /// Takes note of an event. Returns whether it brought a cursor.
    ///
    /// # Errors
    /// The event breaks a promise.
    pub fn hear(&mut self, event: &Event) -> Result<bool, String> {
        match event {
            Event::Put { key, rev, .. } => {
                if self.is_anew && self.pending.last().is_some_and(|last| last.key() >= Some(key.as_str())) {
                    return Err(format!("{event:?} is not in byte order of the keys"));
                }
                self.pass(key, (*rev, false), event)?;
            }
            Event::Delete { .. } if self.is_anew => {
                return Err(format!("{event:?} in a snapshot"));
            }
            Event::Delete { key, rev: Some(rev), .. } => self.pass(key, (*rev, true), event)?,
            Event::Delete { rev: None, .. } => {}
            Event::Reset(code) => {
                self.pending.clear();
                (self.is_live, self.is_anew) = (false, true);
                self.resets.push(code.clone());
                return Ok(false);
            }
            Event::Ready(cursor) if !self.is_live => {
                if std::mem::take(&mut self.is_anew) {
                    self.entries.clear();
                }
                self.is_live = true;
                self.apply(cursor);
                return Ok(true);
            }
            Event::Progress(cursor) if self.is_live => {
                self.apply(cursor);
                return Ok(true);
            }
            Event::Ready(_) | Event::Progress(_) => {
                return Err(format!("{event:?}, and the stream is live: {}", self.is_live));
            }
        }
        self.pending.push(event.clone());
        Ok(false)
    }

    /// Checks that a key does not go back.
    fn pass(&mut self, key: &str, now: (u64, bool), event: &Event) -> Result<(), String> {
        let newest = self.newest.entry(key.to_owned()).or_insert(now);
        if now < *newest {
            return Err(format!("{event:?} after {newest:?} (the revision, and whether it was gone)"));
        }
        *newest = now;
        Ok(())
    }

    fn apply(&mut self, cursor: &str) {
        for event in self.pending.drain(..) {
            match event {
                Event::Put { key, value, rev, .. } => drop(self.entries.insert(key, Held { value, rev })),
                Event::Delete { key, .. } => drop(self.entries.remove(&key)),
                Event::Ready(_) | Event::Progress(_) | Event::Reset(_) => {
                    unreachable!("only what is told of keys waits")
                }
            }
        }
        self.cursor = Some(cursor.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, rev: u64) -> Event {
        Event::Put { key: key.into(), value: None, rev, expires_at: None }
    }

    fn gone(key: &str, rev: u64) -> Event {
        Event::Delete { key: key.into(), rev: Some(rev), expired: false }
    }

    fn id(number: u64) -> Event {
        if number == 0 { Event::Ready("0".into()) } else { Event::Progress(number.to_string()) }
    }

    fn all(watched: &mut Watched, events: &[Event]) -> Result<Vec<(String, u64)>, String> {
        for event in events {
            watched.hear(event)?;
        }
        Ok(watched.entries().iter().map(|(key, held)| (key.clone(), held.rev)).collect())
    }

    fn held(entries: &[(&str, u64)]) -> Vec<(String, u64)> {
        entries.iter().map(|&(key, rev)| (key.to_owned(), rev)).collect()
    }

    #[test]
    fn events_take_effect_at_the_next_cursor() {
        let mut watched = Watched::new();
        assert_eq!(all(&mut watched, &[put("a", 1), put("b", 2)]), Ok(held(&[])));
        assert_eq!(all(&mut watched, &[id(0)]), Ok(held(&[("a", 1), ("b", 2)])));
        assert_eq!(all(&mut watched, &[gone("a", 3)]), Ok(held(&[("a", 1), ("b", 2)])));
        assert_eq!(all(&mut watched, &[id(1)]), Ok(held(&[("b", 2)])));
        assert_eq!(watched.cursor(), Some("1"));
    }

    #[test]
    fn a_cut_drops_what_no_cursor_covers_and_a_reset_drops_all_at_ready() {
        let mut watched = Watched::new();
        assert_eq!(
            all(&mut watched, &[put("a", 1), put("b", 1), id(0), put("a", 2)]),
            Ok(held(&[("a", 1), ("b", 1)]))
        );
        watched.cut();
        assert_eq!(all(&mut watched, &[put("a", 2), id(0)]), Ok(held(&[("a", 2), ("b", 1)])));
        assert_eq!(
            all(&mut watched, &[Event::Reset("too_old".into()), put("a", 2)]),
            Ok(held(&[("a", 2), ("b", 1)]))
        );
        assert_eq!(all(&mut watched, &[id(0)]), Ok(held(&[("a", 2)])));
        assert_eq!(watched.resets, ["too_old"]);
    }

    #[test]
    fn what_breaks_a_promise_is_found() {
        for events in [
            vec![put("b", 1), put("a", 1)],
            vec![gone("a", 1)],
            vec![id(1)],
            vec![id(0), id(0)],
            vec![id(0), put("a", 2), put("a", 1)],
            vec![id(0), gone("a", 2), put("a", 2)],
            vec![id(0), put("a", 2), id(1), Event::Reset("too_old".into()), put("a", 1)],
        ] {
            assert!(all(&mut Watched::new(), &events).is_err(), "{events:?}");
        }
        let twice = [id(0), put("a", 2), put("a", 2), gone("a", 2), gone("a", 2)];
        assert!(all(&mut Watched::new(), &twice).is_ok(), "an event may come twice");
    }
}
