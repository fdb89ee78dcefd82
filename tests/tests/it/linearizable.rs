//! The histories of concurrent clients are linearizable: in health, and while the database or the services fail.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{
    Did, EngineKind, Operation, Proxy, Recorder, Recording, ReplyOutcome, Role, ServiceProcess, System,
    eventually, not_linearizable, promises,
};

/// The least number of operations in a history.
const OPS: usize = 5000;

/// The kinds of answers that a history must have, and how often each at least.
const KIND_MIN: usize = OPS / 200;
const KINDS: [&str; 14] = [
    "read nothing",
    "read",
    "created, no rev",
    "created if absent",
    "created",
    "updated, no rev",
    "updated if rev",
    "updated",
    "deleted if rev",
    "deleted",
    "absent",
    "mismatch, absent",
    "mismatch, not absent",
    "mismatch, other rev",
];

/// The time limit of a recording.
const LONG: Duration = Duration::from_mins(2);

/// A fault ends before clients give up.
const SETTINGS: [(&str, &str); 1] = [("OP_TIMEOUT_MS", "4000")];

promises! {
    every:
        healthy_histories_are_linearizable,
        histories_with_services_killed_and_drained_are_linearizable;
    sql:
        histories_with_the_database_killed_are_linearizable,
        histories_with_the_database_frozen_are_linearizable,
        histories_with_lost_answers_are_linearizable;
}

/// Waits until every kind of answer has been recorded, then checks that each key is linearizable and that no refused write was read.
async fn judge(recorder: Recorder) -> Recording {
    let enough = eventually("everything occurs often", LONG, async || too_rare(&recorder.ops()));
    // An answer may be missing because of the very bug that is looked for: the verdict comes first.
    drop(tokio::time::timeout(LONG / 4, enough).await);
    let record = recorder.stop().await;
    assert!(record.ops.len() >= OPS, "{} operations say too little", record.ops.len());
    assert!(record.told >= OPS / 50, "{} events of watches say too little", record.told);
    let (bad, record) = tokio::task::spawn_blocking(move || (not_linearizable(&record.ops), record))
        .await
        .expect("the checker does not panic");
    let history = |key: &u64| record.ops.iter().filter(|op| op.key == *key).collect::<Vec<_>>();
    let shortest = bad.iter().map(history).min_by_key(Vec::len);
    assert!(
        bad.is_empty(),
        "{} keys of {} operations, one of them: {shortest:?}",
        bad.len(),
        record.ops.len()
    );
    let read =
        |value| record.ops.iter().any(|op| matches!(op.did, Did::Read(Some((found, _))) if found == value));
    let applied: Vec<_> = record.refused.iter().filter(|value| read(**value)).collect();
    assert!(applied.is_empty(), "{applied:?} were refused and are there");
    too_rare(&record.ops).expect("everything occurs often");
    record
}

/// The kinds of answers of which a history has too few. Such a history proves nothing.
fn too_rare(ops: &[Operation]) -> Result<(), String> {
    let mut counts: BTreeMap<&str, usize> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    for op in ops {
        *counts.entry(kind(op.did)).or_default() += 1;
    }
    if KINDS.iter().all(|kind| counts[kind] >= KIND_MIN) {
        return Ok(());
    }
    Err(format!("{counts:?}"))
}

fn kind(did: Did) -> &'static str {
    let conditional = |if_rev: Option<u64>| if_rev.is_some_and(|rev| rev > 0);
    match did {
        Did::Read(None) => "read nothing",
        Did::Read(Some(_)) => "read",
        Did::Set { reply: None, .. } | Did::Delete { reply: None, .. } => "unknown",
        Did::Set { if_rev, reply: Some(reply), .. } | Did::Delete { if_rev, reply: Some(reply) } => {
            match reply {
                ReplyOutcome::Created(None) => "created, no rev",
                ReplyOutcome::Created(Some(_)) if if_rev == Some(0) => "created if absent",
                ReplyOutcome::Created(Some(_)) => "created",
                ReplyOutcome::Updated(None) => "updated, no rev",
                ReplyOutcome::Updated(Some(_)) if conditional(if_rev) => "updated if rev",
                ReplyOutcome::Updated(Some(_)) => "updated",
                ReplyOutcome::Deleted(_) if conditional(if_rev) => "deleted if rev",
                ReplyOutcome::Deleted(_) => "deleted",
                ReplyOutcome::Absent => "absent",
                ReplyOutcome::Mismatch(Some(0)) => "mismatch, absent",
                ReplyOutcome::Mismatch(_) if if_rev == Some(0) => "mismatch, not absent",
                ReplyOutcome::Mismatch(_) => "mismatch, other rev",
            }
        }
    }
}

async fn healthy_histories_are_linearizable(engine: EngineKind) {
    let system = System::start(engine).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    recorder.more(OPS, LONG).await;
    let record = judge(recorder).await;
    assert_eq!((record.refused.len(), record.unknown), (0, 0), "nothing fails where nothing is broken");
}

async fn histories_with_services_killed_and_drained_are_linearizable(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
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
    let record = judge(recorder).await;
    assert!(record.unknown > 0, "some operations were under way");
}

async fn histories_with_the_database_killed_are_linearizable(engine: EngineKind) {
    let (mut server, system) = System::start_on_own_server(engine, &SETTINGS).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    for _ in 0..3 {
        recorder.more(OPS / 4, LONG).await;
        server.kill();
        server.start().await;
    }
    recorder.more(OPS / 4, LONG).await;
    judge(recorder).await;
}

async fn histories_with_the_database_frozen_are_linearizable(engine: EngineKind) {
    let (server, system) = System::start_on_own_server(engine, &SETTINGS).await;
    let (writer, reader) = (system.another_writer().await, system.another_reader().await);
    let recorder = Recorder::start(&[system.ws(), writer.public], &[system.http(), reader.public]);
    recorder.more(OPS / 2, LONG).await;
    server.freeze();
    // Longer than the time limits of an operation and of a query.
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.thaw();
    recorder.more(OPS / 2, LONG).await;
    let record = judge(recorder).await;
    assert!(!record.refused.is_empty() || record.unknown > 0, "it was frozen for longer than anybody waits");
}

async fn histories_with_lost_answers_are_linearizable(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    // Every thirtieth: 3 %.
    let proxy = Proxy::start(system.database.addr(), 30).await;
    let mut writers = Vec::new();
    for _ in 0..2 {
        let mut env = system.database.env_at(Role::Writer, &proxy.addr.to_string());
        env.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // The test counts lost answers in the log. At `info` each cause would be logged only once a minute.
        env.push(("LOG".to_owned(), "info,db=debug".to_owned()));
        let writer = ServiceProcess::start("ws-ingest", &env);
        writer.ready().await;
        writers.push(writer);
    }
    // Twice the time: writes wait long here.
    let addresses: Vec<_> = writers.iter().chain(&writers).map(|writer| writer.public).collect();
    let recorder = Recorder::start(&addresses, &[system.http()]);
    recorder.more(OPS, LONG).await;
    // Chance decides which answers are lost: answers to COMMIT must be among them.
    let unanswered = "COMMIT got no answer";
    let commits = || writers.iter().map(|writer| writer.log().matches(unanswered).count()).sum::<usize>();
    eventually("enough is lost", LONG, async || match (proxy.lost(), commits()) {
        (20.., 5..) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    judge(recorder).await;
}
