//! A write that a recorded client sends, and the meaning of its reply.

use history::{Did, ReplyOutcome};
use rand::{Rng, RngExt as _};
use serde_json::Value;

/// A message, and the operation that it requests.
#[derive(Debug)]
pub(crate) struct RecordedWrite {
    /// The message, as sent.
    pub(crate) message: String,
    /// The operation, without an answer.
    pub(crate) did: Did,
    /// Whether the reply shows the revision. Only the reply to a plain set does not.
    shows_rev: bool,
}

impl RecordedWrite {
    /// A random write of the key `name`. Its condition, if it has one, is that the key is absent or has the revision `rev`. `rev`
    /// is a revision that a client was told; the key may have another one by now.
    pub(crate) fn any(rng: &mut impl Rng, name: &str, value: u64, rev: Option<u64>) -> Self {
        let if_current = rev.map(|rev| (rev, format!(r#","if_rev":{rev}"#)));
        match (rng.random_range(0..20), if_current) {
            (0..5, _) => Self::set(name, value, "", None, false),
            (5..8, _) => Self::set(name, value, r#","id":1"#, None, true),
            (8..11, _) | (11..15, None) => Self::set(name, value, r#","if_rev":0"#, Some(0), true),
            (11..15, Some((rev, member))) => Self::set(name, value, &member, Some(rev), true),
            (15..17, Some((rev, member))) => Self::delete(name, &member, Some(rev)),
            _ => Self::delete(name, "", None),
        }
    }

    fn set(name: &str, value: u64, more: &str, if_rev: Option<u64>, shows_rev: bool) -> Self {
        let message = format!(r#"{{"key":"{name}","value":"{value}"{more}}}"#);
        Self { message, did: Did::Set { value, if_rev, reply: None }, shows_rev }
    }

    fn delete(name: &str, more: &str, if_rev: Option<u64>) -> Self {
        let message = format!(r#"{{"op":"delete","key":"{name}"{more}}}"#);
        Self { message, did: Did::Delete { if_rev, reply: None }, shows_rev: true }
    }

    /// The operation with the answer of `reply`, and the revision that the reply shows.
    pub(crate) fn answered(&self, reply: &Value) -> (Did, Option<u64>) {
        let message = reply["message"].as_str().unwrap_or_default();
        let (rev, is) = (reply["rev"].as_u64(), |word: &str| message.ends_with(word));
        let outcome = match (reply["status"].as_u64(), self.did) {
            (Some(200), Did::Set { .. }) if is(" created") => ReplyOutcome::Created(rev),
            (Some(200), Did::Set { .. }) if is(" updated") => ReplyOutcome::Updated(rev),
            (Some(200), Did::Delete { .. }) if is(" deleted") => ReplyOutcome::Deleted(rev),
            (Some(404), Did::Delete { .. }) => ReplyOutcome::Absent,
            (Some(412), _) if reply["code"] == "rev_mismatch" => ReplyOutcome::Mismatch(rev),
            _ => panic!("{reply} is no reply to {self:?}"),
        };
        let shows_rev = self.shows_rev && outcome != ReplyOutcome::Absent;
        assert_eq!(rev.is_some(), shows_rev, "{reply} is the reply to {self:?}");
        let did = match self.did {
            Did::Set { value, if_rev, .. } => Did::Set { value, if_rev, reply: Some(outcome) },
            Did::Delete { if_rev, .. } => Did::Delete { if_rev, reply: Some(outcome) },
            Did::Read(_) => unreachable!("only writes are sent"),
        };
        (did, rev)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn answered(write: &RecordedWrite, reply: &str) -> Option<(Did, Option<u64>)> {
        let reply = serde_json::from_str(reply).expect("JSON");
        catch_unwind(|| write.answered(&reply)).ok()
    }

    #[test]
    fn a_reply_says_what_was_done_and_another_is_no_reply() {
        let plain = RecordedWrite::set("k", 7, "", None, false);
        let shown = RecordedWrite::set("k", 7, r#","if_rev":5"#, Some(5), true);
        let delete = RecordedWrite::delete("k", "", None);
        let created = r#"{"message":"k created","status":200}"#;
        let updated = r#"{"message":"k updated","status":200,"rev":6}"#;
        let deleted = r#"{"message":"k deleted","status":200,"rev":6}"#;
        let absent = r#"{"message":"No value found for key k","status":404}"#;
        let mismatch = r#"{"message":"rev mismatch for key k","status":412,"code":"rev_mismatch","rev":0}"#;

        let set = |if_rev, outcome| Did::Set { value: 7, if_rev, reply: Some(outcome) };
        assert_eq!(answered(&plain, created), Some((set(None, ReplyOutcome::Created(None)), None)));
        assert_eq!(answered(&shown, updated), Some((set(Some(5), ReplyOutcome::Updated(Some(6))), Some(6))));
        assert_eq!(
            answered(&shown, mismatch),
            Some((set(Some(5), ReplyOutcome::Mismatch(Some(0))), Some(0)))
        );
        let gone = |outcome| Did::Delete { if_rev: None, reply: Some(outcome) };
        assert_eq!(answered(&delete, deleted), Some((gone(ReplyOutcome::Deleted(Some(6))), Some(6))));
        assert_eq!(answered(&delete, absent), Some((gone(ReplyOutcome::Absent), None)));

        // A revision that was not requested, a revision that is missing, the reply to another message.
        for (write, reply) in [
            (&plain, updated),
            (&shown, created),
            (&plain, deleted),
            (&plain, absent),
            (&delete, updated),
            (&delete, r#"{"message":"k deleted","status":200}"#),
            (&shown, r#"{"message":"k is fine","status":200,"rev":6}"#),
            (&shown, r#"{"message":"rev mismatch for key k","status":412,"rev":6}"#),
        ] {
            assert_eq!(answered(write, reply), None, "{write:?} {reply}");
        }
    }
}
