//! Messages that take long to parse: other clients do not wait for them.

use std::time::{Duration, Instant};

use e2e::{EngineKind, System, promises};
use serde_json::Value;

promises! {
    sqlite:
        messages_that_take_long_to_parse_do_not_block_gets;
}

/// The time limit of a get, in a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// Messages of nearly the largest size, each with the code of its refusal.
fn messages() -> Vec<(String, &'static str)> {
    const BYTES: usize = 6_000_000;
    let members = (0..450_000).map(|at| format!(r#""x{at}":0,"#)).collect::<Vec<_>>().concat();
    let object = |name: &str, value: &str| format!(r#"{{"key":"k","value":"v","{name}":{value}}}"#);
    let batch = |ops: &str| format!(r#"{{"op":"batch","ops":[{ops}]}}"#);
    let op = (0..64).map(|at| format!(r#""{at}":"{}","#, r"\n".repeat(40))).collect::<Vec<_>>().concat();
    let ops: Vec<_> = (0..1000).map(|at| format!(r#"{{{op}"key":"{at}","value":1}}"#)).collect();
    vec![
        (format!(r#"{{{members}"key":"k","value":"v"}}"#), "bad_member"),
        (batch(&format!("{}0", "0,".repeat(BYTES / 2 - 100))), "bad_batch"),
        (batch(&ops.join(",")), "bad_value"),
        (object("x", &format!("\"{}\\ud800\"", r"\\".repeat(BYTES / 2 - 100))), "bad_json"),
        (object("x", &format!("{}{}", "[".repeat(BYTES / 2), "]".repeat(BYTES / 2 - 100))), "bad_json"),
    ]
}

async fn messages_that_take_long_to_parse_do_not_block_gets(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("small", "v").await;
    let mut senders = Vec::new();
    for (text, code) in messages() {
        assert!(text.len() < 6_298_624, "{} bytes", text.len());
        let mut socket = system.socket().await;
        senders.push(tokio::spawn(async move {
            for _ in 0..3 {
                let begin = text[..100].to_owned();
                socket.send(text.clone()).await;
                let reply = socket.reply().await.expect("the socket stays open");
                let reply: Value = serde_json::from_str(&reply).expect("JSON");
                assert_eq!(reply["code"], code, "{begin}: {reply}");
            }
        }));
    }
    let mut slowest = Duration::ZERO;
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) {
        let asked = Instant::now();
        assert_eq!(system.read("small").await.status, 200);
        slowest = slowest.max(asked.elapsed());
    }
    for sender in senders {
        sender.await.expect("every message is answered");
    }
    assert!(slowest < SOON, "a get took {slowest:?}");
}
