//! A delete removes the value, and revisions still grow after it.

use e2e::{EngineKind, System, promises, rev, storage};

promises! {
    every:
        a_delete_tells_what_it_did,
        a_deleted_key_is_absent_and_can_be_created_again,
        revisions_go_on_growing_over_deletes,
        pipelined_sets_and_deletes_apply_in_the_order_sent;
}

async fn a_delete_tells_what_it_did(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let nothing = socket.ask(r#"{"id":8,"op":"delete","key":"a"}"#).await;
    assert_eq!(nothing, r#"{"message":"No value found for key a","status":404,"id":8}"#);
    socket.set("a", "1").await;
    let deleted = socket.ask(r#"{"id":"x","op":"delete","key":"a"}"#).await;
    assert_eq!(
        deleted,
        format!(r#"{{"message":"a deleted","status":200,"id":"x","rev":{}}}"#, rev(&deleted))
    );
    let again = socket.ask(r#"{"op":"delete","key":"a"}"#).await;
    assert_eq!(again, r#"{"message":"No value found for key a","status":404}"#);
}

async fn a_deleted_key_is_absent_and_can_be_created_again(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    for _ in 0..3 {
        assert_eq!(socket.set("a/b", "1").await, r#"{"message":"a/b created","status":200}"#);
        assert_eq!(socket.set("a/b", "2").await, r#"{"message":"a/b updated","status":200}"#);
        assert_eq!(connection.get(&storage("a/b")).await.status, 200);
        socket.ask(r#"{"op":"delete","key":"a/b"}"#).await;
        let gone = connection.request("GET", &storage("a/b"), &[("If-None-Match", "*")]).await;
        assert_eq!(gone.body, r#"{"message":"No value found for key a/b","status":404}"#);
        let both = connection.get("/storage?key=a%2Fb&key=c").await;
        assert_eq!(both.body, r#"{"items":[],"missing":["a/b","c"],"message":"","status":200}"#);
    }
}

async fn revisions_go_on_growing_over_deletes(engine: EngineKind) {
    let system = System::start(engine).await;
    let (mut one, mut two) = (system.socket().await, system.socket().await);
    let mut last = 0;
    for round in 0..20 {
        let socket = if round % 3 == 0 { &mut two } else { &mut one };
        let verb = if round % 2 == 0 { r#""value":"v""# } else { r#""op":"delete""# };
        let now = rev(&socket.ask(format!(r#"{{"id":{round},"key":"k",{verb}}}"#)).await);
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

async fn pipelined_sets_and_deletes_apply_in_the_order_sent(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // Five ops on each key, all keys at once: a delete of nothing, two sets, a delete, a delete of nothing.
    let keys: Vec<String> = (0..200).map(|number| format!("key {number}")).collect();
    let set = |key: &String| format!(r#"{{"key":"{key}","value":"v"}}"#);
    let delete = |key: &String| format!(r#"{{"op":"delete","key":"{key}"}}"#);
    let verbs: [&dyn Fn(&String) -> String; 5] = [&delete, &set, &set, &delete, &delete];
    let messages: Vec<String> = verbs.iter().flat_map(|verb| keys.iter().map(verb)).collect();
    socket.try_send_all(messages).await.expect("everything can be sent at once");
    let mut replies = Vec::new();
    for _ in 0..verbs.len() * keys.len() {
        replies.push(socket.next().await);
    }
    for (at, key) in keys.iter().enumerate() {
        let replies: Vec<&str> = replies.iter().skip(at).step_by(keys.len()).map(String::as_str).collect();
        let nothing = format!(r#"{{"message":"No value found for key {key}","status":404}}"#);
        let did = |verb: &str| format!(r#"{{"message":"{key} {verb}","status":200}}"#);
        assert_eq!(replies[..3], [&nothing, &did("created"), &did("updated")]);
        assert!(replies[3].starts_with(&format!(r#"{{"message":"{key} deleted","status":200,"rev":"#)));
        assert_eq!(replies[4], nothing);
        assert_eq!(system.read(key).await.status, 404);
    }
}
