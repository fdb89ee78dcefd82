//! The four tests of the original service, on Keywire.

use e2e::{EngineKind, promises};
use serde_json::json;

promises! {
    every:
        a_value_saved_over_the_socket_is_read_over_http,
        an_update_answers_updated_and_reads_new,
        a_missing_key_is_a_404,
        a_key_cannot_be_there_twice;
}

async fn a_value_saved_over_the_socket_is_read_over_http(engine: EngineKind) {
    let system = e2e::System::start(engine).await;
    let mut socket = system.socket().await;
    socket.ask(r#"{"key":"key_example_ws","value":"value_example"}"#).await;
    let response = system.read("key_example_ws").await;
    assert_eq!(response.status, 200);
    assert_eq!(
        response.json(),
        json!({"key": "key_example_ws", "value": "value_example", "message": "", "status": 200})
    );
}

async fn an_update_answers_updated_and_reads_new(engine: EngineKind) {
    let system = e2e::System::start(engine).await;
    let mut socket = system.socket().await;
    let created = socket.set("key_example_ws_update", "value_example").await;
    assert_eq!(created, r#"{"message":"key_example_ws_update created","status":200}"#);
    let updated = socket.set("key_example_ws_update", "value_examplenew_value").await;
    assert_eq!(updated, r#"{"message":"key_example_ws_update updated","status":200}"#);
    let response = system.read("key_example_ws_update").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["value"], "value_examplenew_value");
}

async fn a_missing_key_is_a_404(engine: EngineKind) {
    let system = e2e::System::start(engine).await;
    let response = system.read("non_existing_key").await;
    assert_eq!(response.status, 404);
    assert_eq!(response.json(), json!({"message": "No value found for key non_existing_key", "status": 404}));
}

async fn a_key_cannot_be_there_twice(engine: EngineKind) {
    let system = e2e::System::start(engine).await;
    let (mut one, mut two) = (system.socket().await, system.socket().await);
    for number in 0..10 {
        one.set("once", &number.to_string()).await;
        two.set("once", &number.to_string()).await;
    }
    assert_eq!(system.database.entries().await, 1);
}
