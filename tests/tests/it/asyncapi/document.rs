//! The specifications of the socket and of watches: their messages and their example conversations.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The committed file about the socket.
pub(crate) const FILE: &str = include_str!("../../../../openapi/ws-ingest.asyncapi.yaml");

/// The committed file about the events of a watch.
pub(crate) const EVENTS_FILE: &str = include_str!("../../../../openapi/rest-read.asyncapi.yaml");

/// The document, parsed.
#[derive(Debug)]
pub(crate) struct AsyncApiDocument(pub(crate) Value);

/// Messages and the replies to them, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conversation {
    /// Its name in the examples.
    pub(crate) name: String,
    /// The condition that it needs. `None`: an empty store is enough.
    pub(crate) given: Option<String>,
    /// What its socket speaks.
    pub(crate) subprotocol: Option<String>,
    /// Numbers that stand for numbers which the service chooses.
    #[serde(default)]
    pub(crate) decided: Vec<u64>,
    pub(crate) steps: Vec<Exchange>,
}

/// One message, text or binary, and its reply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) send: Option<String>,
    pub(crate) binary: Option<String>,
    pub(crate) receive: String,
}

/// An example of a message.
#[derive(Debug)]
pub(crate) struct Example<'a> {
    /// The message of which it is an example.
    pub(crate) message: &'a str,
    /// The conversation that it belongs to.
    pub(crate) name: &'a str,
    pub(crate) payload: &'a Value,
    /// The lines of an event beside its data. Null for a message of the socket.
    pub(crate) headers: &'a Value,
}

impl AsyncApiDocument {
    /// The specification of the socket.
    pub(crate) fn read() -> Self {
        Self::parse(FILE)
    }

    pub(crate) fn parse(file: &str) -> Self {
        Self(serde_saphyr::from_str(file).unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn conversations<C: DeserializeOwned>(&self) -> Vec<C> {
        serde_json::from_value(self.0["x-replay"].clone()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The conversation of this name.
    pub(crate) fn conversation(&self, name: &str) -> Conversation {
        let named =
            self.conversations::<Conversation>().into_iter().find(|conversation| conversation.name == name);
        named.unwrap_or_else(|| panic!("there is no conversation {name}"))
    }

    /// The names of the messages that a client sends, or of those that it receives.
    pub(crate) fn messages(&self, of: &str) -> Vec<&str> {
        let messages = self.0.pointer(of).and_then(Value::as_array).expect("an operation lists its messages");
        messages.iter().map(|message| name_in(&message["$ref"])).collect()
    }

    pub(crate) fn examples(&self) -> Vec<Example<'_>> {
        let messages = self.0["components"]["messages"].as_object().expect("there are messages");
        messages.iter().flat_map(|(message, value)| examples_of(message, &value["examples"])).collect()
    }

    /// The messages among `messages` whose schema allows `payload`.
    pub(crate) fn fits<'a>(&self, payload: &Value, messages: &[&'a str]) -> Vec<&'a str> {
        messages.iter().filter(|message| self.allows(message, "payload", payload)).copied().collect()
    }

    /// Whether the schema of `part` of `message` allows `value`.
    pub(crate) fn allows(&self, message: &str, part: &str, value: &Value) -> bool {
        let at = format!("#/components/messages/{message}/{part}");
        let schema = json!({ "$ref": at, "components": self.0["components"] });
        let schema = jsonschema::draft7::new(&schema).unwrap_or_else(|error| panic!("{message}: {error}"));
        schema.is_valid(value)
    }
}

impl Exchange {
    /// The payload, as JSON if it is JSON.
    pub(crate) fn payload(&self) -> Option<Value> {
        serde_json::from_str(self.send.as_deref()?).ok()
    }

    pub(crate) fn reply(&self) -> Value {
        serde_json::from_str(&self.receive).unwrap_or_else(|error| panic!("{error}: {}", self.receive))
    }
}

/// The last segment of a reference.
fn name_in(reference: &Value) -> &str {
    let path = reference.as_str().expect("it is a reference");
    path.rsplit_once('/').expect("it leads somewhere").1
}

fn examples_of<'a>(message: &'a str, examples: &'a Value) -> Vec<Example<'a>> {
    let examples = examples.as_array().expect("a message has examples");
    let named = |example: &'a Value| {
        let name = example["name"].as_str().expect("an example has a name");
        Example { message, name, payload: &example["payload"], headers: &example["headers"] }
    };
    examples.iter().map(named).collect()
}
