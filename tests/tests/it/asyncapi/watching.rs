//! The specification of the events of a watch: what it says is what a stream says.

use std::collections::{BTreeSet, HashMap};

use e2e::{EngineKind, Event, HttpConnection, System, Watch, promises};
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{AsyncApiDocument, EVENTS_FILE};
use super::replay::Decided;

/// The path of the operation that lists the events.
const EVENTS: &str = "/operations/watch/messages";

promises! {
    every:
        the_specification_of_the_events_is_served_as_committed,
        every_stream_is_replayed_byte_for_byte;
}

/// Writes and streams, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    /// Its name in the examples.
    name: String,
    /// Numbers that stand for numbers which the service chooses.
    #[serde(default)]
    decided: Vec<u64>,
    /// Names that stand for cursors which the service chooses.
    cursors: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// A message over the socket, which is done.
    Write(String),
    /// A stream with this query takes the place of the one before.
    Watch(String),
    /// The next event, without the empty line after it.
    Receive(String),
}

async fn the_specification_of_the_events_is_served_as_committed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = HttpConnection::open(system.http()).await;
    let response = connection.request("GET", "/watch/asyncapi.yaml", &[]).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/yaml"), "RFC 9512");
    assert_eq!(response.body, EVENTS_FILE);
    let tag = response.header("etag").expect("a document has a tag").to_owned();
    let again = connection.request("GET", "/watch/asyncapi.yaml", &[("If-None-Match", &tag)]).await;
    assert_eq!(again.status, 304);
}

async fn every_stream_is_replayed_byte_for_byte(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut wrong = Vec::new();
    for conversation in conversations() {
        wrong.extend(replay(&conversation, &system).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn conversations() -> Vec<Conversation> {
    AsyncApiDocument::parse(EVENTS_FILE).conversations()
}

/// Replays `conversation` on `system`. Returns the differences.
async fn replay(conversation: &Conversation, system: &System) -> Vec<String> {
    let mut socket = system.socket().await;
    let mut decided = Decided::of(&conversation.decided);
    // The cursors that the service chose, by the names that stand for them.
    let mut chosen: HashMap<&str, String> = HashMap::new();
    let (mut watch, mut wrong) = (None, Vec::new());
    for step in &conversation.steps {
        match step {
            Step::Write(message) => {
                let reply = socket.ask(message).await;
                assert!(reply.contains(r#""status":200"#), "{message}: {reply}");
            }
            Step::Watch(query) => {
                let name = query.rsplit_once("after=").map(|(_, name)| name).unwrap_or_default();
                let query = chosen.get(name).map_or(query.clone(), |cursor| query.replace(name, cursor));
                watch = Some(Watch::open(system.http(), &query).await);
            }
            Step::Receive(expected) => {
                let watch = watch.as_mut().expect("a stream is opened before");
                let event = next(watch, expected).await;
                let mut lines = event.lines();
                if let Some((name, cursor)) = name_of_cursor(expected).zip(event.cursor()) {
                    lines = lines.replace(cursor, name);
                    chosen.insert(name, cursor.to_owned());
                }
                if !decided.hear(expected, &lines) {
                    wrong.push(format!("{}: expected {expected}\n     not {lines}", conversation.name));
                }
            }
        }
    }
    if !decided.in_order() {
        wrong.push(format!("{}: the numbers decided are in another order: {decided:?}", conversation.name));
    }
    wrong
}

/// The next event. Every ten seconds a stream also tells that nothing has changed.
async fn next(watch: &mut Watch, expected: &str) -> Event {
    loop {
        match watch.next().await {
            Event::Progress(_) if !expected.starts_with("event: progress\n") => {}
            event => return event,
        }
    }
}

/// The name that stands for the cursor of an event.
fn name_of_cursor(event: &str) -> Option<&str> {
    event.lines().find_map(|line| line.strip_prefix("id: "))
}

/// The lines of an event beside its data, and its data.
fn parts(event: &str) -> (Value, Value) {
    let mut headers = json!({});
    for line in event.lines() {
        let (name, value) = line.split_once(": ").expect("a line has a name");
        if name == "data" {
            return (headers, serde_json::from_str(value).expect("data is JSON"));
        }
        headers[name] = value.into();
    }
    panic!("an event ends with its data: {event}");
}

#[test]
fn every_example_of_an_event_is_part_of_a_stream() {
    let (document, conversations) = (AsyncApiDocument::parse(EVENTS_FILE), conversations());
    let mut messages = BTreeSet::new();
    for example in document.examples() {
        let conversation = conversations.iter().find(|conversation| conversation.name == example.name);
        let conversation = conversation.unwrap_or_else(|| panic!("there is no {}", example.name));
        let is_it = |step: &Step| match step {
            Step::Receive(event) => parts(event) == (example.headers.clone(), example.payload.clone()),
            Step::Write(_) | Step::Watch(_) => false,
        };
        assert!(conversation.steps.iter().any(is_it), "{example:?} is not in {conversation:?}");
        messages.insert(example.message);
    }
    let all = document.0["components"]["messages"].as_object().expect("there are messages");
    assert!(all.keys().map(String::as_str).eq(messages), "every message has an example");
}

#[test]
fn every_event_is_of_exactly_one_kind() {
    let document = AsyncApiDocument::parse(EVENTS_FILE);
    let messages = document.messages(EVENTS);
    let conversations = conversations();
    let names: BTreeSet<_> = conversations.iter().map(|conversation| &conversation.name).collect();
    assert_eq!(names.len(), conversations.len(), "each has a name of its own");
    for conversation in &conversations {
        let received: Vec<_> = conversation
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Receive(event) => Some(event.as_str()),
                Step::Write(_) | Step::Watch(_) => None,
            })
            .collect();
        for event in &received {
            let (headers, data) = parts(event);
            let kinds: Vec<_> = messages
                .iter()
                .filter(|message| {
                    document.allows(message, "headers", &headers)
                        && document.allows(message, "payload", &data)
                })
                .collect();
            assert_eq!(kinds, [&headers["event"].as_str().expect("a name")], "{event}");
        }
        let used: Vec<_> = received.iter().filter_map(|event| name_of_cursor(event)).collect();
        assert_eq!(used, conversation.cursors, "{}", conversation.name);
        let unused =
            conversation.decided.iter().find(|number| !received.concat().contains(&number.to_string()));
        assert_eq!(unused, None, "{}", conversation.name);
    }
}
