//! Lists of keys in byte order, page by page.

mod without_values;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Database, EngineKind, HttpConnection, PATIENCE, Role, System, eventually, promises, write};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

promises! {
    every:
        a_list_walks_all_keys_in_byte_order,
        dead_entries_are_not_listed_and_do_not_end_a_list,
        a_page_passes_ten_thousand_rows_at_most,
        a_page_ends_before_its_values_pass_4_mib,
        keys_written_meanwhile_do_not_move_others,
        a_page_is_one_snapshot_while_writers_go_on,
        an_invalid_list_is_refused;
    sql:
        a_late_page_costs_what_the_first_does,
        a_list_survives_its_connection_and_an_unused_connection_is_closed;
}

/// An expiry long after this test.
const FUTURE: &str = "253402300799000000";

/// All pages of a list: the items of each page.
async fn walk(connection: &mut HttpConnection, query: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut target) = (Vec::new(), format!("/storage?{query}"));
    loop {
        let page = connection.get(&target).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let json = page.json();
        pages.push(json["items"].as_array().expect("items is a list").clone());
        match &json["next"] {
            Value::String(next) => target = format!("/storage?{query}&after={next}"),
            end => {
                assert!(end.is_null() && page.body.ends_with(r#"],"next":null,"message":"","status":200}"#));
                return pages;
            }
        }
    }
}

fn keys(pages: &[Vec<Value>]) -> Vec<&str> {
    pages.iter().flatten().map(|item| item["key"].as_str().unwrap_or_default()).collect()
}

fn sizes(pages: &[Vec<Value>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

async fn a_list_walks_all_keys_in_byte_order(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut expected: Vec<String> = (0..50).map(|n| format!("user/{n}")).collect();
    let odd = ["A", "a", "a ", "a\0", "a/b", "e\u{301}", "\u{e9}", ".", "..", "\u{1f600}", "\u{10ffff}"];
    expected.extend(odd.map(str::to_owned));
    for key in &expected {
        socket.set(key, &format!("of {key}")).await;
    }
    expected.sort_unstable_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    let mut connection = system.connection().await;
    let pages = walk(&mut connection, "limit=7").await;
    assert_eq!(keys(&pages), expected);
    assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == 7), "{:?}", sizes(&pages));
    for item in pages.iter().flatten() {
        assert_eq!(item["value"], format!("of {}", item["key"].as_str().unwrap_or_default()));
    }
    let etag = system.read("a").await.header("etag").expect("a tag").to_owned();
    let a = pages.iter().flatten().find(|item| item["key"] == "a").expect("it is listed");
    assert_eq!(format!("\"{}\"", a["rev"]), etag);

    let users = walk(&mut connection, "prefix=user/&limit=50").await;
    assert_eq!(sizes(&users), [50], "no page without need");
    assert!(keys(&users).iter().all(|key| key.starts_with("user/")));
    assert_eq!(keys(&walk(&mut connection, "prefix=user/4&limit=4").await).len(), 11);
    assert_eq!(keys(&walk(&mut connection, "prefix=%C3%A9").await), ["\u{e9}"]);
    assert_eq!(keys(&walk(&mut connection, "prefix=%F4%8F%BF%BF").await), ["\u{10ffff}"]);
    assert_eq!(sizes(&walk(&mut connection, "prefix=nobody").await), [0]);
    assert_eq!(sizes(&walk(&mut connection, "").await), [expected.len()], "a hundred fit a page");
}

async fn dead_entries_are_not_listed_and_do_not_end_a_list(engine: EngineKind) {
    let system = System::start(engine).await;
    let key = |kind: &str| (0..40).map(move |n| format!("{n:02}{kind}")).collect::<Vec<_>>();
    system.database.put(key("deleted"), "", "0").await;
    system.database.put(key("expired"), "v", "1").await;
    system.database.put(key("expiring"), "v", FUTURE).await;
    system.database.put(key("lasting"), "v", "null").await;
    let mut connection = system.connection().await;
    let mut expected = [key("expiring"), key("lasting")].concat();
    expected.sort_unstable();
    for limit in [1, 3, 80, 1000] {
        let pages = walk(&mut connection, &format!("limit={limit}")).await;
        assert_eq!(keys(&pages), expected, "by pages of {limit}");
        assert!(pages.iter().all(|page| page.len() <= limit));
    }
}

async fn a_page_passes_ten_thousand_rows_at_most(engine: EngineKind) {
    let system = System::start(engine).await;
    system.database.put((0..25_000).map(|n| format!("dead/{n:05}")), "", "0").await;
    let mut socket = system.socket().await;
    socket.set("a", "first").await;
    socket.set("z", "last").await;
    let mut connection = system.connection().await;
    let pages = walk(&mut connection, "").await;
    assert_eq!(sizes(&pages), [1, 0, 1], "9,999 dead rows after the first, 10,000, 5,001");
    assert_eq!(keys(&pages), ["a", "z"]);
    assert_eq!(sizes(&walk(&mut connection, "prefix=dead/&limit=1").await), [0, 0, 0]);
}

async fn a_page_ends_before_its_values_pass_4_mib(engine: EngineKind) {
    let system = System::start(engine).await;
    let value = "v".repeat(1 << 20);
    let mut socket = system.socket().await;
    for n in 0..9 {
        socket.set(&format!("k{n}"), &value).await;
    }
    let mut connection = system.connection().await;
    // The second time, the connection knows how large the values are.
    for _ in 0..2 {
        assert_eq!(sizes(&walk(&mut connection, "").await), [4, 4, 1]);
    }
    assert_eq!(sizes(&walk(&mut connection, "limit=3").await), [3, 3, 3]);
}

async fn keys_written_meanwhile_do_not_move_others(engine: EngineKind) {
    let system = System::start(engine).await;
    let expected: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
    system.database.put(expected.clone(), "stays", "null").await;
    let done = Arc::new(AtomicBool::new(false));
    let (mut socket, stop) = (system.socket().await, Arc::clone(&done));
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            // Keys before, at and after the position of the list.
            let n = written * 7 % 300;
            socket.ask(write(&format!("{n:03}new{written}"), "new")).await;
            written += 1;
        }
        written
    });
    let mut connection = system.connection().await;
    for _ in 0..5 {
        let pages = walk(&mut connection, "limit=7").await;
        let found = keys(&pages);
        assert!(found.is_sorted_by(|left, right| left < right), "each once, in order");
        let stays = found.into_iter().filter(|key| key.len() == 3).collect::<Vec<_>>();
        assert_eq!(stays, expected);
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.await.expect("the writer does not fail") > 0, "something was written meanwhile");
}

async fn a_page_is_one_snapshot_while_writers_go_on(engine: EngineKind) {
    let system = System::start(engine).await;
    // There are several statements between the first key and the last.
    system.database.put((0..900).map(|n| format!("m{n:03}")), "between", "null").await;
    let done = Arc::new(AtomicBool::new(false));
    let (mut socket, stop) = (system.socket().await, Arc::clone(&done));
    let writer = tokio::spawn(async move {
        let mut round = 0u64;
        while !stop.load(Ordering::Relaxed) {
            // The two are written one after the other: at any instant they are equal, or the first is one ahead.
            socket.set("a", &round.to_string()).await;
            socket.set("z", &round.to_string()).await;
            round += 1;
        }
        round
    });
    let mut connection = system.connection().await;
    let round = |item: &Value| item["value"].as_str().and_then(|value| value.parse::<u64>().ok());
    let (mut pages, mut rounds) = (0, HashSet::new());
    while pages < 100 || rounds.len() < 10 {
        let page = connection.get("/storage?limit=1000").await.json();
        let items = page["items"].as_array().expect("items is a list");
        if items.len() == 902 {
            let (a, z) = (round(&items[0]).expect("a number"), round(&items[901]).expect("a number"));
            assert!(a == z || a == z + 1, "a is of round {a}, z of round {z}");
            rounds.insert(a);
        }
        pages += 1;
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.await.expect("the writer does not fail") >= 10, "writers went on");
}

async fn an_invalid_list_is_refused(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let mut connection = system.connection().await;
    for query in [
        "limit=",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=1&limit=2",
        "prefix=%FF",
        "prefx=a",
        "key=a&x",
        "values=",
        "values=0",
        "values=False",
        "values=true&values=true",
        "key=a&values=true",
        "key=a&values=false",
    ] {
        connection.get(&format!("/storage?{query}")).await.refused(422, "bad_parameter");
    }
    system.socket().await.set("l", "v").await;
    let next = connection.get("/storage?limit=1").await.json()["next"].as_str().expect("a cursor").to_owned();
    assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{next}");
    let shorter = &next[..next.len() - 1];
    for after in
        ["", "x", "AAAA", shorter, &format!("{next}A"), &format!("{next}="), &format!("{next}&prefix=k")]
    {
        connection.get(&format!("/storage?limit=1&after={after}")).await.refused(422, "bad_cursor");
    }
    assert_eq!(connection.get(&format!("/storage?after={next}")).await.status, 200);
}

/// The number of rows that the server has read along an index.
const STEPS: &str = "Handler_read_next";

async fn a_late_page_costs_what_the_first_does(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[]).await;
    system.database.put((0..20_000).map(|n| format!("{n:05}")), "v", "null").await;
    let mut connection = system.connection().await;
    let mut root = system.database.root().await;
    // Each second the services look at the store clock, which is also counted: the least of three counts is without it.
    let mut cost = async |target: &str| {
        let (mut least, mut page) = (u64::MAX, Value::Null);
        for _ in 0..3 {
            let before = Database::counted(&mut root, STEPS).await;
            page = connection.get(target).await.json();
            least = least.min(Database::counted(&mut root, STEPS).await - before);
        }
        (least, page)
    };
    let (first, page) = cost("/storage").await;
    assert!((99..=101).contains(&first), "a page of 100 is {first} steps");
    assert_eq!(page["items"].as_array().map(Vec::len), Some(100));
    let (_, page) = cost("/storage?prefix=19&limit=800").await;
    let next = page["next"].as_str().expect("there is more");
    let (late, page) = cost(&format!("/storage?prefix=19&after={next}")).await;
    assert_eq!(page["items"][0]["key"], "19800");
    assert!(late.abs_diff(first) <= 2, "the first page took {first} steps, a late one {late}");
}

async fn a_list_survives_its_connection_and_an_unused_connection_is_closed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    let mut others = Vec::new();
    eventually("its readers are connected", PATIENCE, async || {
        others = system.database.connections(Role::Reader).await;
        if others.len() == 4 { Ok(()) } else { Err(format!("{others:?}")) }
    })
    .await;
    assert_eq!(connection.get("/storage").await.status, 200);
    let with_lists = system.database.connections(Role::Reader).await;
    assert_eq!(with_lists.len(), others.len() + 1, "one is opened when it is needed");
    let newest = with_lists.last().expect("there is one");
    let mut root = system.database.root().await;
    root.execute(AssertSqlSafe(format!("kill {newest}"))).await.expect("it can be killed");
    assert_eq!(connection.get("/storage").await.status, 200, "another is opened");
    eventually("it is closed when nobody lists", PATIENCE, async || {
        let now = system.database.connections(Role::Reader).await;
        if now == others { Ok(()) } else { Err(format!("{now:?} instead of {others:?}")) }
    })
    .await;
}
