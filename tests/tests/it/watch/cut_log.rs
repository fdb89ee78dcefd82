//! A log of changes that was cut early resets whoever lacks the removed part, once, and nobody else.

use e2e::{EngineKind, Event, PATIENCE, System, Watch, eventually, promises, rev};

use super::{fill_log, put, set};

promises! {
    every:
        a_log_that_is_too_large_resets_only_who_lacks_a_part,
        a_log_that_was_off_resets_each_watch_once;
}

/// Waits until the sweeper has removed rows of the log early.
async fn is_cut(system: &System) {
    eventually("the log is cut", PATIENCE, async || {
        match system.database.number("select count(*) from changes where length(ks) = 0").await {
            0 => Err("no row was removed".into()),
            _ => Ok(()),
        }
    })
    .await;
}

/// Resumes all keys from `cursor`, which must be lost for the reason `code`: the stream is reset, and tells of `there`. Then nothing is lost
/// any more.
async fn resets_once(system: &System, cursor: &str, code: &str, there: Event) {
    let mut watch = Watch::resume(system.http(), "prefix=k", cursor).await;
    assert_eq!(watch.next().await, Event::Reset(code.to_owned()));
    let (events, good) = watch.ready().await;
    assert_eq!(events, [there]);
    let mut resumed = Watch::resume(system.http(), "prefix=k", &good).await;
    assert_eq!(resumed.ready().await.0, [], "the cursor after a reset is good");
    for value in ["8", "9"] {
        let change = rev(&system.socket().await.ask(set("k", value)).await);
        for watch in [&mut watch, &mut resumed] {
            assert_eq!(watch.round().await.0, [put("k", value, change)], "no stream is reset");
        }
    }
}

async fn a_log_that_is_too_large_resets_only_who_lacks_a_part(engine: EngineKind) {
    let settings = [("SWEEP_INTERVAL_MS", "100"), ("CHANGES_BYTES_MAX", "1048576")];
    let system = System::start_with_settings(engine, &settings).await;
    let (_, old) = Watch::open(system.http(), "prefix=k").await.ready().await;
    let mut open = Watch::open(system.http(), "prefix=k").await;
    open.ready().await;
    let mut socket = system.socket().await;
    let there = rev(&socket.ask(set("k", "1")).await);
    assert_eq!(open.round().await.0, [put("k", "1", there)]);
    fill_log(&mut socket, "fill/").await;
    is_cut(&system).await;
    let change = rev(&socket.ask(set("k", "2")).await);
    assert_eq!(open.round().await.0, [put("k", "2", change)], "an open stream lacks nothing");
    resets_once(&system, &old, "too_old", put("k", "2", change)).await;
}

async fn a_log_that_was_off_resets_each_watch_once(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, &[("SWEEP_INTERVAL_MS", "100")]).await;
    let mut socket = system.socket().await;
    socket.set("k", "1").await;
    let (_, old) = Watch::open(system.http(), "prefix=k").await.ready().await;
    socket.set("other", "1").await;
    system.set(&[("SWEEP_INTERVAL_MS", "100"), ("CHANGES_RETENTION_S", "0")]);
    system.restart().await;
    let there = rev(&system.socket().await.ask(set("k", "2")).await);
    is_cut(&system).await;
    system.set(&[("SWEEP_INTERVAL_MS", "100")]);
    system.restart().await;
    // For a minute after the last write that was not logged there is no watch.
    system.database.execute("update writers set rev = rev - 61000000 where logged = 0").await;
    resets_once(&system, &old, "not_logged", put("k", "2", there)).await;
}
