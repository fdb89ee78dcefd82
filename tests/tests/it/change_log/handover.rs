//! Another process logs expiries when the one that did ends or hangs.

use std::time::{Duration, Instant};

use e2e::{EngineKind, PATIENCE, Socket, System, eventually, measured, promises, signal};

use super::{SECOND, SWEPT_OFTEN, logged_at, now, until};

promises! {
    sql:
        another_process_logs_expiries_when_the_one_that_did_is_gone,
        an_ordered_stop_hands_the_expiries_over_within_a_second;
}

async fn another_process_logs_expiries_when_the_one_that_did_is_gone(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, SWEPT_OFTEN).await;
    let other = system.another_writer().await;
    let mut socket = Socket::open(other.public).await;
    // Hung, then gone.
    for (number, is_hung) in [true, false].into_iter().enumerate() {
        let key = format!("left{number}");
        socket.ask(format!(r#"{{"key":"{key}","value":"v","ttl":2}}"#)).await;
        let begun = Instant::now();
        if is_hung {
            signal("STOP", system.writer.id());
        } else {
            signal("CONT", system.writer.id());
            system.writer.stop().await;
        }
        let select = format!("select count(*) from changes where instr(ks, '{key}') > 0");
        eventually("the other process logs it", PATIENCE, async || {
            match system.database.number(&select).await {
                2 => Ok(()),
                rows => Err(format!("{rows} rows")),
            }
        })
        .await;
        measured(&format!(
            "{engine:?}: {} ms after it was set with a ttl of 2 s",
            begun.elapsed().as_millis()
        ));
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    }
}

async fn an_ordered_stop_hands_the_expiries_over_within_a_second(engine: EngineKind) {
    const COUNT: u64 = 12;
    let mut system = System::start(engine).await;
    let other = system.another_writer().await;
    let mut socket = Socket::open(other.public).await;
    // It is logged, so one of the two processes has the lock. The first one had the time to take it.
    let first = now() + SECOND;
    for number in 0..COUNT {
        let at = first + number * 250_000;
        socket.ask(format!(r#"{{"key":"end{number:02}","value":"v","expires_at":{at}}}"#)).await;
    }
    until(
        &system.database,
        "the first is logged",
        "select count(*) from changes where instr(ks, 'end00') > 0",
        2,
    )
    .await;
    system.writer.stop().await;
    let mut late = Vec::new();
    for number in 0..COUNT {
        let key = format!("end{number:02}");
        let select = format!("select count(*) from changes where instr(ks, '{key}') > 0");
        until(&system.database, "the expiry is logged", &select, 2).await;
        late.push(logged_at(&system.database, &key).await - (first + number * 250_000));
    }
    let late: Vec<u64> = late.into_iter().map(|late| late / 1000).collect();
    measured(&format!("{engine:?}: logged {late:?} ms after the expiry"));
    assert!(late.iter().all(|late| *late < 1000), "{late:?} ms");
}
