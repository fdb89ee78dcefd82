//! The specifications of the socket and of watches are valid `AsyncAPI`, and the services answer every example in them byte for byte.

mod document;
mod replay;
mod structure;
mod watching;

use std::collections::BTreeSet;

use e2e::{
    Database, EngineKind, HttpConnection, PATIENCE, Proxy, Role, ServiceProcess, Socket, System, Tokens,
    eventually, free_port, promises, write,
};
use futures_util::future::join_all;

use self::document::{AsyncApiDocument, Conversation, EVENTS_FILE, FILE};
use self::replay::{replay, replay_on_socket};

/// The paths of the operations that list the messages of clients and the replies.
const SENT: &str = "/operations/write/messages";
const RECEIVED: &str = "/operations/write/reply/messages";

promises! {
    every:
        the_specification_is_served_as_committed,
        every_conversation_is_replayed_byte_for_byte,
        a_write_that_a_token_does_not_grant_is_forbidden,
        a_write_over_a_rate_limit_is_refused_with_slow_down,
        a_write_that_is_due_before_its_turn_is_overloaded;
    sql:
        a_commit_without_an_answer_is_an_outcome_unknown;
}

async fn the_specification_is_served_as_committed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = HttpConnection::open(system.ws()).await;
    for method in ["GET", "HEAD"] {
        let response = connection.request(method, "/ws/asyncapi.yaml", &[]).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("content-type"), Some("application/yaml"), "RFC 9512");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("content-length"), Some(FILE.len().to_string().as_str()));
        assert_eq!(response.body, if method == "GET" { FILE } else { "" });
    }
    let response = connection.request("POST", "/ws/asyncapi.yaml", &[("Content-Length", "0")]).await;
    response.refused(405, "bad_method");
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

async fn every_conversation_is_replayed_byte_for_byte(engine: EngineKind) {
    let mut conversations: Vec<Conversation> = AsyncApiDocument::read().conversations();
    conversations.retain(|conversation| conversation.given.is_none());
    // In another order, and with messages sent before earlier replies have come, the result is the same.
    for ahead in [1, usize::MAX] {
        let system = System::start(engine).await;
        let mut wrong = Vec::new();
        for conversation in &conversations {
            wrong.extend(replay(conversation, system.ws(), ahead).await);
        }
        assert!(wrong.is_empty(), "{ahead} ahead:\n{}", wrong.join("\n"));
        conversations.reverse();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_a_write_is_unavailable() {
    let env = [
        ("DATABASE_URL", format!("mysql://nobody@{}/none", free_port())),
        ("OP_TIMEOUT_MS", "500".to_owned()),
    ];
    let writer = ServiceProcess::start("ws-ingest", &env.map(|(name, value)| (name.to_owned(), value)));
    let wrong = replay(&AsyncApiDocument::read().conversation("unavailable"), writer.public, 1).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn a_write_that_a_token_does_not_grant_is_forbidden(engine: EngineKind) {
    let tokens = Tokens::new();
    let token = tokens.make("owner", &["--write", "own/"]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let socket = Socket::open_as(system.ws(), &token).await;
    let wrong = replay_on_socket(&AsyncApiDocument::read().conversation("forbidden"), socket, 1).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn a_write_over_a_rate_limit_is_refused_with_slow_down(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("CONNECTION_OPS_PER_SECOND", "2")]).await;
    let wrong = replay(&AsyncApiDocument::read().conversation("slow-down"), system.ws(), 1).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn a_write_that_is_due_before_its_turn_is_overloaded(engine: EngineKind) {
    let slow = [("LANES", "1"), ("BATCH_OPS_MAX", "1"), ("OP_TIMEOUT_MS", "100")];
    let system = System::start_with_settings(engine, &slow).await;
    let conversation = AsyncApiDocument::read().conversation("overloaded");
    // A client that sends one write at a time waits only for clients that do the same, not for a flood.
    let mut others = join_all((0..500).map(|_| system.socket())).await;
    eventually("a write waits for too long", PATIENCE * 2, async || {
        join_all(others.iter_mut().map(|other| other.send(write("other", "x")))).await;
        let wrong = replay(&conversation, system.ws(), 1).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    })
    .await;
}

async fn a_commit_without_an_answer_is_an_outcome_unknown(engine: EngineKind) {
    let conversation = AsyncApiDocument::read().conversation("outcome-unknown");
    let [step] = &conversation.steps[..] else { panic!("it is one write: {conversation:?}") };
    let text = step.send.as_deref().expect("it is text");
    let database = System::start(engine).await.database;
    let (writer, proxy) = behind_a_proxy(&database).await;
    let write: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
    proxy.fall_silent_at_the_commit_of(write["key"].as_str().expect("it names a key"));
    assert_eq!(Socket::open(writer.public).await.ask(text).await, step.receive);
}

/// A writer that reaches its database through a proxy.
async fn behind_a_proxy(database: &Database) -> (ServiceProcess, Proxy) {
    let proxy = Proxy::start(database.addr(), u64::from(u32::MAX)).await;
    let mut env = database.env_at(Role::Writer, &proxy.addr.to_string());
    // The proxy looks for a COMMIT. MySQL accepts this login because the user has logged in with TLS before.
    for (_, url) in env.iter_mut().filter(|(name, _)| name == "DATABASE_URL") {
        url.push_str(if url.contains('?') { "&ssl-mode=disabled" } else { "?ssl-mode=disabled" });
    }
    env.push(("OP_TIMEOUT_MS".into(), "1000".into()));
    let writer = ServiceProcess::start("ws-ingest", &env);
    writer.ready().await;
    (writer, proxy)
}

#[test]
fn it_is_valid_asyncapi() {
    let documents = [FILE, EVENTS_FILE].map(AsyncApiDocument::parse);
    for document in &documents {
        let faults = structure::faults(&document.0);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
    let unused = structure::unused(&[&documents[0].0, &documents[1].0]);
    assert_eq!(unused, [""; 0], "a misspelt place would check nothing");
}

#[test]
fn every_example_is_part_of_a_conversation() {
    let document = AsyncApiDocument::read();
    let mut messages = BTreeSet::new();
    for example in document.examples() {
        let conversation = document.conversation(example.name);
        let sent = conversation.steps.iter().filter_map(document::Exchange::payload);
        let received = conversation.steps.iter().map(document::Exchange::reply);
        let is_in_it = sent.chain(received).any(|payload| payload == *example.payload);
        assert!(is_in_it, "{example:?} is not in {conversation:?}");
        let all = [document.messages(SENT), document.messages(RECEIVED)].concat();
        assert_eq!(document.fits(example.payload, &all), [example.message], "{example:?}");
        messages.insert(example.message);
    }
    let all = document.0["components"]["messages"].as_object().expect("there are messages");
    assert!(all.keys().map(String::as_str).eq(messages), "every message has an example");
}

#[test]
fn every_conversation_is_replayed_unless_a_bug_is_needed() {
    let conversations: Vec<Conversation> = AsyncApiDocument::read().conversations();
    let given: Vec<_> = conversations.iter().filter(|one| one.given.is_some()).map(|one| &one.name).collect();
    assert_eq!(given, ["forbidden", "slow-down", "unavailable", "overloaded", "outcome-unknown", "internal"]);
    let names: BTreeSet<_> = conversations.iter().map(|conversation| &conversation.name).collect();
    assert_eq!(names.len(), conversations.len(), "each has a name of its own");
    for conversation in &conversations {
        let replies: String = conversation.steps.iter().map(|step| step.receive.as_str()).collect();
        let unused = conversation.decided.iter().find(|number| !replies.contains(&number.to_string()));
        assert_eq!(unused, None, "{}", conversation.name);
    }
}

#[test]
fn every_message_is_of_exactly_one_kind() {
    let document = AsyncApiDocument::read();
    let (sent, received) = (document.messages(SENT), document.messages(RECEIVED));
    for step in document.conversations::<Conversation>().iter().flat_map(|conversation| &conversation.steps) {
        let kinds = document.fits(&step.reply(), &received);
        assert_eq!(kinds.len(), 1, "{kinds:?} is {}", step.receive);
        let Some(payload) = step.payload() else { continue };
        let kinds = document.fits(&payload, &sent);
        // Errors that a schema cannot find: a member or a key twice, an expiry in the past, how many members are not known.
        let code = step.reply()["code"].clone();
        let escapes = ["bad_json", "bad_batch", "bad_ttl", "bad_member", "forbidden", "slow_down"]
            .iter()
            .any(|escaping| code == *escaping);
        let is_refused = document.fits(&step.reply(), &["refused"]).len() == 1;
        let expected = if is_refused { 0..=usize::from(escapes) } else { 1..=1 };
        assert!(expected.contains(&kinds.len()), "{kinds:?} is {step:?}");
    }
}

#[test]
fn every_code_and_status_of_the_schemas_is_shown() {
    let document = AsyncApiDocument::read();
    let replies: Vec<_> = document
        .conversations::<Conversation>()
        .iter()
        .flat_map(|conversation| conversation.steps.iter().map(document::Exchange::reply))
        .collect();
    for message in document.messages(RECEIVED) {
        let properties = &document.0["components"]["schemas"][message]["properties"];
        for member in ["status", "code"] {
            let schema = &properties[member];
            let one = schema.get("const").into_iter();
            let several = schema["enum"].as_array().into_iter().flatten();
            for value in one.chain(several) {
                let shown = replies.iter().any(|reply| reply[member] == *value);
                assert!(shown, "no conversation shows {member} {value} of {message}");
            }
        }
    }
}

#[test]
fn all_examples_of_the_contract_are_in_it() {
    let lines = [
        r#"{"key":"hello","value":"world"}"#,
        r#"{"message":"hello created","status":200}"#,
        r#"{"message":"hello updated","status":200}"#,
        r#"{"id":7,"key":"a","value":"2"}"#,
        r#"{"message":"a updated","status":200,"id":7,"rev":1043}"#,
        r#"{"id":8,"op":"delete","key":"a"}"#,
        r#"{"message":"a deleted","status":200,"id":8,"rev":1044}"#,
        r#"{"message":"No value found for key a","status":404,"id":8}"#,
        r#"{"key":"lock","value":"me","if_rev":0}"#,
        r#"{"message":"rev mismatch for key lock","status":412,"code":"rev_mismatch","rev":998}"#,
        r#"{"key":"session","value":"…","ttl":60}"#,
        r#"{"message":"2 ops committed","status":200,"id":9,"rev":1046,"results":["#,
        r#"created","status":200,"rev":1045},"#,
    ];
    let document = AsyncApiDocument::read();
    let all: Vec<_> =
        document.conversations::<Conversation>().into_iter().flat_map(|one| one.steps).collect();
    for line in lines {
        let is_in = |step: &document::Exchange| {
            step.receive.contains(line) || step.send.as_deref().is_some_and(|text| text == line)
        };
        assert!(all.iter().any(is_in), "{line}");
    }
}
