//! Histories of concurrent clients make sense: healthy, and with the database or the services failing underneath.

use std::time::Duration;

use e2e::{Engine, Process, Proxy, Record, Recorder, Role, System, eventually, not_linearizable, promises};

/// Operations that a history has at least.
const OPS: usize = 5000;

/// How long recording may take.
const LONG: Duration = Duration::from_mins(2);

/// So that a fault is over before the clients give up.
const SETTINGS: [(&str, &str); 1] = [("OP_TIMEOUT_MS", "4000")];

mod every_engine {
    use super::*;

    promises! {
        healthy_histories_are_linearizable,
        histories_with_services_killed_and_drained_are_linearizable,
    }
}

mod every_server {
    use super::*;

    promises! { sql:
        histories_with_the_database_killed_are_linearizable,
        histories_with_the_database_frozen_are_linearizable,
        histories_with_lost_answers_are_linearizable,
    }
}

/// Judges what was recorded: each key for itself, and that nothing was read that was refused.
async fn judge(record: Record) -> Record {
    assert!(record.ops.len() >= OPS, "{} operations say too little", record.ops.len());
    let (bad, record) = tokio::task::spawn_blocking(move || (not_linearizable(&record.ops), record))
        .await
        .expect("the checker does not panic");
    let histories: Vec<_> =
        bad.iter().map(|key| record.ops.iter().filter(|op| op.key == *key).collect::<Vec<_>>()).collect();
    assert!(bad.is_empty(), "{} keys of {} operations: {histories:?}", bad.len(), record.ops.len());
    let read = |value| record.ops.iter().any(|op| op.did == e2e::Did::Read(Some(value)));
    let applied: Vec<_> = record.refused.iter().filter(|value| read(**value)).collect();
    assert!(applied.is_empty(), "{applied:?} were refused and are there");
    record
}

async fn healthy_histories_are_linearizable(engine: Engine) {
    let system = System::start(engine).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    recorder.more(OPS, LONG).await;
    let record = judge(recorder.stop().await).await;
    assert_eq!((record.refused.len(), record.unknown), (0, 0), "nothing fails where nothing is broken");
}

async fn histories_with_services_killed_and_drained_are_linearizable(engine: Engine) {
    let system = System::with(engine, &SETTINGS).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(system.another_writer().await);
    }
    let writers: Vec<_> = others.iter().map(|writer| writer.public).chain([system.ws()]).collect();
    let recorder = Recorder::start(&writers, &[system.http()]);
    for (at, writer) in others.iter_mut().enumerate() {
        recorder.more(OPS / 4, LONG).await;
        if at % 2 == 0 { writer.kill() } else { writer.terminate() }
    }
    recorder.more(OPS / 4, LONG).await;
    let record = judge(recorder.stop().await).await;
    assert!(record.unknown > 0, "some operations were under way");
}

async fn histories_with_the_database_killed_are_linearizable(engine: Engine) {
    let (mut server, system) = System::apart(engine, &SETTINGS).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    for _ in 0..3 {
        recorder.more(OPS / 4, LONG).await;
        server.kill();
        server.start().await;
    }
    recorder.more(OPS / 4, LONG).await;
    judge(recorder.stop().await).await;
}

async fn histories_with_the_database_frozen_are_linearizable(engine: Engine) {
    let (server, system) = System::apart(engine, &SETTINGS).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    recorder.more(OPS / 2, LONG).await;
    server.freeze();
    // Longer than an operation waits, and than a query may take.
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.thaw();
    recorder.more(OPS / 2, LONG).await;
    let record = judge(recorder.stop().await).await;
    assert!(!record.refused.is_empty() || record.unknown > 0, "it was frozen for longer than anybody waits");
}

async fn histories_with_lost_answers_are_linearizable(engine: Engine) {
    let system = System::with(engine, &SETTINGS).await;
    // Every thirtieth: 3 %.
    let proxy = Proxy::start(system.database.addr(), 30).await;
    let mut writers = Vec::new();
    for _ in 0..2 {
        let mut env = system.database.env_at(Role::Writer, &proxy.addr.to_string());
        env.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let writer = Process::start("ws-ingest", &env);
        writer.ready().await;
        writers.push(writer);
    }
    let addresses: Vec<_> = writers.iter().map(|writer| writer.public).collect();
    let recorder = Recorder::start(&addresses, &[system.http()]);
    recorder.more(OPS, LONG).await;
    // Which answers are lost is chance: those of a COMMIT must be among them.
    let unanswered = "COMMIT got no answer";
    let commits = || writers.iter().map(|writer| writer.log().matches(unanswered).count()).sum::<usize>();
    eventually("enough is lost", LONG, async || match (proxy.lost(), commits()) {
        (20.., 5..) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    judge(recorder.stop().await).await;
}
