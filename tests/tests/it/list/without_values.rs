//! Lists with `values=false`.

use e2e::{Database, EngineKind, System, promises};
use serde_json::Value;

use super::{FUTURE, sizes, walk};

promises! {
    every:
        a_list_without_values_has_the_same_keys_and_cursors,
        a_list_without_values_is_not_ended_by_their_size;
    sql:
        a_list_without_values_reads_none;
}

async fn a_list_without_values_has_the_same_keys_and_cursors(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for n in 0..30 {
        socket.set(&format!("user/{n:02}"), &format!("value {n}")).await;
    }
    system.database.put((0..40).map(|n| format!("user/1{n:02}")), "", "0").await;
    system.database.put(["expired".into()], "v", "1").await;
    system.database.put(["expiring".into()], "v", FUTURE).await;
    // Its value is not UTF-8. Only a list with values meets it.
    system.database.execute("insert into entries (k, v, rev, born) values (x'7a', x'ff', 1, 1)").await;
    let mut connection = system.connection().await;
    let mut target = "/storage?limit=4".to_owned();
    loop {
        let without = connection.get(&format!("{target}&values=false")).await;
        assert_eq!((without.status, without.header("cache-control")), (200, Some("no-cache")), "{without:?}");
        let with = connection.get(&format!("{target}&values=true")).await;
        assert_eq!(with.body, connection.get(&target).await.body, "true is the default");
        let without = without.json();
        let items = without["items"].as_array().expect("items is a list");
        assert!(
            items.iter().all(|item| item.as_object().map(|item| item.keys().collect::<Vec<_>>())
                == Some(vec![&"key".to_owned(), &"rev".to_owned()])),
            "{items:?}"
        );
        let Value::String(next) = &without["next"] else {
            assert_eq!(items.last().map(|item| &item["key"]), Some(&"z".into()));
            break;
        };
        let mut with = with.json();
        for item in with["items"].as_array_mut().expect("items is a list") {
            item.as_object_mut().and_then(|item| item.remove("value")).expect("it has a value");
        }
        assert_eq!(with["items"], without["items"]);
        assert_eq!(&with["next"], next, "a cursor is the same with and without values");
        target = format!("/storage?limit=4&after={next}");
    }
}

async fn a_list_without_values_is_not_ended_by_their_size(engine: EngineKind) {
    let system = System::start(engine).await;
    let value = "v".repeat(1 << 20);
    let mut socket = system.socket().await;
    for n in 0..9 {
        socket.set(&format!("k{n}"), &value).await;
    }
    system.database.put((0..15_000).map(|n| format!("dead/{n:05}")), "", "0").await;
    system.database.put((0..1500).map(|n| format!("m{n:04}")), "v", "null").await;
    let mut connection = system.connection().await;
    assert_eq!(sizes(&walk(&mut connection, "prefix=k&values=false").await), [9]);
    assert_eq!(sizes(&walk(&mut connection, "prefix=k&values=false&limit=4").await), [4, 4, 1]);
    let all = walk(&mut connection, "values=false&limit=1000").await;
    assert_eq!(sizes(&all), [0, 1000, 509], "10,000 dead rows, 5,000 and the limit, the rest");
}

/// How often the server has looked at a page of its tables, in memory or on the disk.
const PAGE_LOOKS: &str = "Innodb_buffer_pool_read_requests";

async fn a_list_without_values_reads_none(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[]).await;
    let value = "v".repeat(1 << 20);
    let mut socket = system.socket().await;
    for n in 0..50 {
        socket.set(&format!("k{n}"), &value).await;
    }
    let mut connection = system.connection().await;
    let mut root = system.database.root().await;
    let mut looks = async |target: &str| {
        // What the server does by itself is also counted: the least of three counts has little of it.
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = Database::counted(&mut root, PAGE_LOOKS).await;
            assert_eq!(connection.get(target).await.status, 200);
            least = least.min(Database::counted(&mut root, PAGE_LOOKS).await - before);
        }
        least
    };
    let one_value = looks("/storage/k0").await;
    let all_keys = looks("/storage?values=false&limit=1000").await;
    // A value of 1 MiB takes 64 pages.
    assert!(one_value >= 64 && all_keys < one_value, "one value: {one_value} looks, 50 keys: {all_keys}");
}
