//! What a watch refuses, whom it ends, and when it cannot be had.

use std::time::{Duration, Instant};

use e2e::{
    EngineKind, Event, Heard, HttpConnection, NotWatching, PATIENCE, Response, System, Tokens, Watch,
    eventually, get, promises, rev,
};

use super::{put, set};

promises! {
    every:
        an_invalid_watch_is_refused,
        a_watch_needs_the_rights_of_a_list,
        no_more_watches_are_open_than_allowed,
        a_drain_ends_streams_after_a_round,
        a_client_that_takes_nothing_is_given_up,
        a_log_that_is_switched_off_is_no_watch_and_a_slower_wait,
        while_a_writer_logs_nothing_there_is_no_watch;
    sql:
        a_stream_outlives_a_database_that_is_away_for_a_while,
        a_stream_that_sees_no_database_ends;
}

/// Why `query` is no watch.
async fn refusal(system: &System, query: &str, headers: &[(&str, &str)]) -> Response {
    match Watch::try_open(system.http(), query, headers).await {
        Err(NotWatching::Refused(response)) => response,
        other => panic!("{query} is refused: {other:?}"),
    }
}

async fn an_invalid_watch_is_refused(engine: EngineKind) {
    let system = System::start(engine).await;
    let keys = |count: usize| (0..count).map(|key| format!("key={key}")).collect::<Vec<_>>().join("&");
    Watch::open(system.http(), &keys(100)).await.ready().await;
    refusal(&system, &keys(101), &[]).await.refused(422, "bad_parameter");
    for query in
        ["key=a&prefix=b", "key=a&prefix=", "prefix=a&prefix=b", "values=1", "snapshot=no", "limit=3"]
    {
        refusal(&system, query, &[]).await.refused(422, "bad_parameter");
    }
    refusal(&system, "key=", &[]).await.refused(422, "bad_key");
    refusal(&system, &format!("key={}", "k".repeat(513)), &[]).await.refused(413, "too_large");
    let mut connection = system.connection().await;
    for method in ["HEAD", "POST"] {
        let response = connection.request(method, "/watch", &[]).await;
        assert_eq!((response.status, response.header("allow")), (405, Some("GET")), "{method}");
    }
    // A refusal says nothing about the keys.
    assert_eq!(connection.get("/watch/").await.status, 404);
}

async fn a_watch_needs_the_rights_of_a_list(engine: EngineKind) {
    let tokens = Tokens::new();
    let all = tokens.make("all", &["--read", "", "--write", ""]);
    let some = tokens.make("some", &["--read", "a/"]);
    let writes = tokens.make("writes", &["--write", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let mut socket = e2e::Socket::open_as(system.ws(), &all).await;
    let there = rev(&socket.ask(set("a/1", "v")).await);
    let bearer = |token: &str| format!("Bearer {token}");
    for (token, query) in
        [(&all, ""), (&all, "key=b"), (&some, "prefix=a/"), (&some, "prefix=a/1"), (&some, "key=a/1&key=a/2")]
    {
        let mut watch = Watch::open_with(system.http(), query, &[("Authorization", &bearer(token))]).await;
        let told = if query == "key=b" { vec![] } else { vec![put("a/1", "v", there)] };
        assert_eq!(watch.ready().await.0, told, "{query}");
    }
    for (token, query) in
        [(&some, ""), (&some, "prefix=a"), (&some, "key=a/1&key=b"), (&writes, ""), (&writes, "key=a/1")]
    {
        refusal(&system, query, &[("Authorization", &bearer(token))]).await.refused(403, "forbidden");
    }
    let response = refusal(&system, "prefix=a/", &[]).await;
    response.refused(401, "unauthenticated");
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
}

async fn no_more_watches_are_open_than_allowed(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("WATCHES_MAX", "3")]).await;
    let current = rev(&system.socket().await.ask(set("k", "1")).await);
    let mut watches = Vec::new();
    for _ in 0..2 {
        let mut watch = Watch::open(system.http(), "").await;
        watch.ready().await;
        watches.push(watch);
    }
    let mut waiting = system.connection().await;
    let tag = format!("\"{current}\"");
    let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=60")];
    waiting.send_with("GET", "/storage/k", &headers).await;
    eventually("the get waits", PATIENCE, async || {
        let metrics = get(system.reads().admin, "/metrics").await.body;
        if metrics.contains("keywire_watches 3\n") { Ok(()) } else { Err("it does not".into()) }
    })
    .await;
    let response = refusal(&system, "", &[]).await;
    response.refused(503, "overloaded");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    let mut connection = system.connection().await;
    connection.request("GET", "/storage/k", &headers).await.refused(503, "overloaded");
    // Who does not want to wait is answered as ever.
    assert_eq!(connection.request("GET", "/storage/k", &headers[..1]).await.status, 304);
    assert_eq!(connection.get("/storage/k").await.status, 200);
    watches.pop();
    eventually("its place is free", PATIENCE, async || match Watch::try_open(system.http(), "", &[]).await {
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("{reason:?}")),
    })
    .await;
}

async fn a_drain_ends_streams_after_a_round(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let other = system.another_reader().await;
    let writer = system.another_writer().await;
    let mut socket = e2e::Socket::open(writer.public).await;
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut watch = Watch::open(system.http(), "").await;
        let (_, cursor) = watch.ready().await;
        watches.push((watch, cursor));
    }
    let load = tokio::spawn(async move {
        for number in 0_u64.. {
            socket.set("k", &number.to_string()).await;
        }
    });
    for (watch, cursor) in &mut watches {
        *cursor = watch.round().await.1;
    }
    let reads = system.reader.as_mut().unwrap_or(&mut system.writer);
    reads.terminate();
    for (watch, cursor) in &mut watches {
        let (events, end) = watch.ended(PATIENCE * 2).await;
        assert_eq!(end, Heard::End, "a stream ends in order");
        let last = events.iter().rev().find_map(Event::cursor);
        assert_eq!(events.last().and_then(Event::cursor), last, "nothing comes after the last cursor");
        let last = last.unwrap_or(cursor.as_str()).to_owned();
        let (events, _) = Watch::resume(other.public, "", &last).await.ready().await;
        assert!(events.iter().all(|event| event.key() == Some("k")), "{events:?}");
    }
    assert_eq!(reads.ended(PATIENCE * 2).await.code(), Some(0), "{}", reads.log());
    assert!(HttpConnection::try_open(reads.public).await.is_err());
    load.abort();
}

async fn a_client_that_takes_nothing_is_given_up(engine: EngineKind) {
    let system = System::start(engine).await;
    crate::export::heavy(&system).await;
    let open = async || {
        let metrics = get(system.reads().admin, "/metrics").await.body;
        metrics.contains("keywire_watches 1\n")
    };
    let mut connection = system.connection().await;
    connection.send("GET", "/watch").await;
    connection.begun().await;
    let started = Instant::now();
    eventually("the watch is over", PATIENCE * 2, async || {
        if open().await { Err("it is open".into()) } else { Ok(()) }
    })
    .await;
    let took = started.elapsed().as_secs_f64();
    assert!((9.0..16.0).contains(&took), "given up after {took} s");
    crate::export::incomplete(connection).await;
}

async fn a_log_that_is_switched_off_is_no_watch_and_a_slower_wait(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("CHANGES_RETENTION_S", "0")]).await;
    let mut socket = system.socket().await;
    let current = rev(&socket.ask(set("k", "1")).await);
    refusal(&system, "", &[]).await.refused(501, "watch_off");
    let mut connection = system.connection().await;
    let tag = format!("\"{current}\"");
    let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=12")];
    connection.send_with("GET", "/storage/k", &headers).await;
    eventually("the get waits", PATIENCE, async || {
        let metrics = get(system.reads().admin, "/metrics").await.body;
        if metrics.contains("keywire_watches 1\n") { Ok(()) } else { Err("it does not".into()) }
    })
    .await;
    let sent = Instant::now();
    socket.ask(set("k", "2")).await;
    let response = connection.response().await;
    assert_eq!(response.json()["value"], "2");
    assert!(sent.elapsed() < Duration::from_secs(4), "after {:?}", sent.elapsed());
}

async fn while_a_writer_logs_nothing_there_is_no_watch(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut open = Watch::open(system.http(), "").await;
    let (_, cursor) = open.ready().await;
    let now = rev(&system.socket().await.ask(set("k", "1")).await);
    open.round().await;
    // A lane of an older program: it sets no `logged`, and its batch left no row in the log.
    let lane = format!("insert into writers (id, seq, rev) values (1, 1, {now})");
    system.database.execute(&lane).await;
    open.ended(PATIENCE).await;
    refusal(&system, "", &[]).await.refused(503, "unavailable");
    // A minute later.
    let later = format!("update writers set rev = {now} - 61000000 where id = 1");
    system.database.execute(&later).await;
    let other = system.another_reader().await;
    let mut watch = Watch::resume(other.public, "", &cursor).await;
    assert_eq!(watch.next().await, Event::Reset("not_logged".to_owned()));
    assert_eq!(watch.ready().await.0, [put("k", "1", now)]);
}

async fn a_stream_outlives_a_database_that_is_away_for_a_while(engine: EngineKind) {
    let (mut server, system) = System::start_on_own_server(engine, &[]).await;
    let mut watch = Watch::open(system.http(), "").await;
    watch.ready().await;
    server.kill();
    server.start().await;
    let change = eventually("writes work again", PATIENCE * 2, async || {
        let reply = system.socket().await.ask(set("k", "1")).await;
        if reply.contains(r#""status":200"#) { Ok(rev(&reply)) } else { Err(reply) }
    })
    .await;
    let mut told = Vec::new();
    while !told.contains(&put("k", "1", change)) {
        told.push(watch.next().await);
    }
    assert!(!told.iter().any(|event| matches!(event, Event::Reset(_))), "{told:?}");
}

async fn a_stream_that_sees_no_database_ends(engine: EngineKind) {
    let (mut server, system) = System::start_on_own_server(engine, &[]).await;
    let mut watch = Watch::open(system.http(), "").await;
    watch.ready().await;
    server.kill();
    let started = Instant::now();
    let (events, end) = watch.ended(Duration::from_secs(50)).await;
    let took = started.elapsed();
    assert_eq!(end, Heard::End);
    assert!((25..=45).contains(&took.as_secs()), "after {took:?}");
    let late = events.iter().filter(|event| matches!(event, Event::Progress(_))).count();
    assert!(late <= 2, "{late} times `progress` without a database");
    refusal(&system, "", &[]).await.refused(503, "unavailable");
}
