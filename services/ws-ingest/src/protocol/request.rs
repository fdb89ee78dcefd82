//! A parsed message: the write that it requests, or the reason why it is refused.

use chassis::problem::Problem;
use db::Write;
use serde_json::value::RawValue;

/// The write that a message requests, and what its reply needs.
#[derive(Debug)]
pub struct WriteRequest {
    /// The write.
    pub write: Write,
    /// What the reply repeats.
    pub envelope: Envelope,
}

/// The parts of a message that its reply repeats.
#[derive(Debug)]
pub struct Envelope {
    /// The `id`, byte for byte as sent.
    pub(super) id: Option<Box<RawValue>>,
    pub(super) keys: ReplyKeys,
}

/// The keys that a reply names.
#[derive(Debug)]
pub(super) enum ReplyKeys {
    One(JsonKey),
    /// The key and the `id` of each op of a batch.
    Batch(Vec<(JsonKey, Option<Box<RawValue>>)>),
}

/// A key as JSON text, without the quotes.
#[derive(Debug)]
pub(super) struct JsonKey(pub(super) String);

/// A message that is not applied, and its reply.
#[derive(Debug)]
pub struct RefusedRequest {
    /// Why it is refused.
    pub problem: Problem,
    pub(super) id: Option<Box<RawValue>>,
    /// The index of the op of a batch that is refused, and its key if the key is valid.
    pub(super) op: Option<(usize, Option<JsonKey>)>,
}

impl WriteRequest {
    /// The number of ops that a rate limit counts.
    #[must_use]
    pub fn ops(&self) -> usize {
        self.write.ops().len()
    }

    /// Checks each key with `may_write`.
    ///
    /// # Errors
    /// The refusal of the first key that fails the check.
    pub fn check_keys(self, may_write: impl Fn(&str) -> Result<(), Problem>) -> Result<Self, RefusedRequest> {
        let denied = |(index, op): (usize, &db::Op)| Some((index, may_write(op.key.as_str()).err()?));
        match self.write.ops().iter().enumerate().find_map(denied) {
            Some((index, problem)) => Err(self.refuse_op(problem, index)),
            None => Ok(self),
        }
    }

    /// Refuses the request because of the op at `index`.
    fn refuse_op(self, problem: Problem, index: usize) -> RefusedRequest {
        let Envelope { id, keys } = self.envelope;
        let op = match keys {
            ReplyKeys::One(_) => None,
            ReplyKeys::Batch(mut keys) => Some((index, Some(keys.swap_remove(index).0))),
        };
        RefusedRequest { problem, id, op }
    }

    /// Refuses the request as a whole.
    #[must_use]
    pub fn refuse(self, problem: Problem) -> RefusedRequest {
        RefusedRequest { problem, id: self.envelope.id, op: None }
    }
}

impl RefusedRequest {
    /// The refusal of the same message for another reason.
    #[must_use]
    pub fn with_problem(self, problem: Problem) -> Self {
        Self { problem, id: self.id, op: None }
    }
}

impl JsonKey {
    pub(super) fn of(key: &str) -> Self {
        let mut json = serde_json::to_string(key).expect("a string is always JSON");
        json.pop();
        json.remove(0);
        Self(json)
    }
}
