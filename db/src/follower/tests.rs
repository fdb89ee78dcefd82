//! What a follower finds in a file of `SQLite`.

mod file;

use super::*;
use crate::changes::LanePosition;
use file::{FAR, File, Found, LANE, first, keys, lane, log, part, rows};

#[tokio::test]
async fn everything_in_a_snapshot_is_of_one_instant() {
    let mut file = File::new().await;
    file.add_lane(lane(1, 11)).await;
    file.add(b"a", b"old", 11, None).await;
    file.log(1, 0, &part(&["a"])).await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    file.run(
        "begin; update writers set seq = 2, rev = 12; insert into writers (id, seq) values (8, 0); \
        update entries set v = x'6e6577', rev = 12; insert into entries values (x'62', x'', 12, 12, null); \
        insert into changes values (7, 2, 0, 1, x'000161'); update store set floor = 5, retention = 60; commit",
    )
    .await;
    assert_eq!((&snapshot.state().lanes[..], snapshot.state().floor), (&[lane(1, 11)][..], 0));
    assert_eq!(log(&mut snapshot, (0, 0), 10).await, (vec![(1, "a".into())], Some((1, 0))));
    let all = [Found::live("a", 11, "old")];
    assert_eq!(rows(&mut snapshot, &["a", "b"], Values::UpTo(10)).await, all);
    assert_eq!(first(&mut snapshot, 10, Values::UpTo(10)).await, all);
    snapshot.end().await.expect("it can be given up");

    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let expected = [lane(2, 12), LanePosition { id: 8, logs: false, ..lane(0, 0) }];
    assert_eq!((&snapshot.state().lanes[..], snapshot.state().floor), (&expected[..], 5));
    assert_eq!(log(&mut snapshot, (1, u16::MAX), 10).await, (vec![(2, "a".into())], Some((2, 0))));
    let all = [Found::live("a", 12, "new"), Found::live("b", 12, "")];
    assert_eq!(rows(&mut snapshot, &["a", "b"], Values::UpTo(10)).await, all);
    assert_eq!(first(&mut snapshot, 10, Values::UpTo(10)).await, all);
}

#[tokio::test]
async fn a_poll_sees_each_commit_without_a_snapshot() {
    let mut file = File::new().await;
    let mut follower = file.follower().await;
    let state = follower.poll().await.expect("it answers");
    assert_eq!((&state.lanes[..], state.retention, state.floor), (&[][..], None, 0), "a new store");
    assert!(state.store_id > 0 && state.read_at > 1_700_000_000_000_000 && state.now == state.read_at);
    file.add_lane(lane(3, 11)).await;
    file.run("update store set retention = 3600").await;
    let state = follower.poll().await.expect("it answers");
    assert_eq!(state.lanes, [lane(3, 11)]);
    assert_eq!(state.retention, Some(std::time::Duration::from_hours(1)));
}

#[tokio::test]
async fn a_row_without_keys_tells_what_was_removed_before_it() {
    let mut file = File::new().await;
    file.add_lane(lane(5, 11)).await;
    file.log(4, 2, b"").await;
    file.log(5, 0, &part(&["a"])).await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    assert_eq!(snapshot.state().lanes, [LanePosition { removed: 4, ..lane(5, 11) }]);
    assert_eq!(
        log(&mut snapshot, (0, 0), 10).await,
        (vec![(5, "a".into())], Some((5, 0))),
        "it has no change"
    );
}

#[tokio::test]
async fn what_has_expired_is_judged_by_the_latest_revision_of_the_snapshot() {
    let mut file = File::new().await;
    file.add_lane(lane(1, 1)).await;
    let mut follower = file.follower().await;
    let snapshot = follower.snapshot().await.expect("it can be taken");
    let soon = snapshot.state().now + 3_600_000_000;
    snapshot.end().await.expect("it can be given up");
    let at = i64::try_from(soon).expect("it is before 2^63");
    file.add(b"k", b"v", 5, Some(at)).await;

    for (rev, content) in [
        (at - 1, Found::Live("k".into(), 5, Some("v".into()), Some(soon))),
        (at, Found::Expired("k".into(), 5)),
    ] {
        let lane = sqlx::query("update writers set rev = ?").bind(rev);
        lane.execute(&mut file.0.other).await.expect("it is valid");
        let mut snapshot = follower.snapshot().await.expect("it can be taken");
        assert_eq!(snapshot.state().now, rev.unsigned_abs());
        assert!(snapshot.state().read_at < snapshot.state().now);
        let rows = rows(&mut snapshot, &["k"], Values::UpTo(10)).await;
        assert_eq!(rows, first(&mut snapshot, 10, Values::UpTo(10)).await);
        assert_eq!(rows, [content]);
        snapshot.end().await.expect("it can be given up");
    }
}

#[tokio::test]
async fn a_deleted_key_is_told_from_an_expired_one_and_from_one_without_a_row() {
    let mut file = File::new().await;
    file.add(b"a", b"", 1, Some(0)).await;
    file.add(b"b", b"v", 2, Some(1)).await;
    file.add(b"c", b"v", 3, Some(FAR)).await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    for values in [Values::No, Values::UpTo(10)] {
        let value = (values != Values::No).then(|| "v".to_owned());
        let expected = vec![
            Found::Deleted("a".into(), 1),
            Found::Expired("b".into(), 2),
            Found::Live("c".into(), 3, value, Some(FAR.unsigned_abs())),
        ];
        assert_eq!(first(&mut snapshot, 10, values).await, expected);
        assert_eq!(rows(&mut snapshot, &["a", "b", "c", "d"], values).await, expected);
    }
    assert_eq!(rows(&mut snapshot, &["d"], Values::No).await, []);
}

#[tokio::test]
async fn a_value_is_left_out_if_it_is_long_and_not_read_if_nobody_asks() {
    let mut file = File::new().await;
    file.add(b"a", b"12345", 1, None).await;
    file.add(b"b", b"123456", 2, None).await;
    // Nobody sees that this value is damaged unless the value is read.
    file.add(b"c", b"\xff", 3, None).await;
    file.add(b"d", b"123456", 4, Some(1)).await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let expected = [
        Found::live("a", 1, "12345"),
        Found::LeftOut("b".into(), 6),
        Found::Damaged(b"c".into()),
        Found::Expired("d".into(), 4),
    ];
    assert_eq!(first(&mut snapshot, 10, Values::UpTo(5)).await, expected);
    let no_value = |key: &str, rev| Found::Live(key.into(), rev, None, None);
    let expected = [no_value("a", 1), no_value("b", 2), no_value("c", 3), Found::Expired("d".into(), 4)];
    assert_eq!(first(&mut snapshot, 10, Values::No).await, expected);
}

#[tokio::test]
async fn a_damaged_row_fails_alone() {
    let mut file = File::new().await;
    file.add(b"a", b"v", 1, None).await;
    file.add(b"b", b"v", 0, Some(0)).await;
    file.add(b"c", b"v", 1, Some(-1)).await;
    file.add(b"d", b"v", 1, None).await;
    file.add(b"\xff", b"v", 1, None).await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let expected = || {
        vec![
            Found::Damaged(b"b".into()),
            Found::Expired("c".into(), 1),
            Found::live("a", 1, "v"),
            Found::live("d", 1, "v"),
        ]
    };
    assert_eq!(rows(&mut snapshot, &["a", "b", "c", "d"], Values::UpTo(5)).await, expected());
    let mut found = first(&mut snapshot, 10, Values::UpTo(5)).await;
    assert_eq!(found.pop(), Some(Found::Damaged(b"\xff".into())));
    found.sort_by_key(|row| format!("{row:?}"));
    assert_eq!(found, expected());
}

#[tokio::test]
async fn a_range_is_read_in_pages_and_ends_when_it_is_told_to() {
    let mut file = File::new().await;
    for key in [&b"a"[..], b"p/1", b"p/2", b"p/3", b"q"] {
        file.add(key, b"v", 1, None).await;
    }
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let mut range = Range::new("p/".into());
    let mut found = Vec::new();
    for expected in [2, 1] {
        let page = snapshot.range(&range, 2, Values::No, |row| {
            found.push(row.expect("it is whole").key.to_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(page.await.expect("it can be read"), expected);
        range.advance(found.last().expect("there was a row"));
    }
    assert_eq!(found, ["p/1", "p/2", "p/3"]);
    let (all, mut seen) = (Range::new(String::new()), 0);
    let page = snapshot.range(&all, 10, Values::No, |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    page.await.expect("it can be read");
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn the_log_of_a_lane_is_read_in_pages_also_within_a_batch() {
    let mut file = File::new().await;
    file.log(1, 0, &part(&["a", "b"])).await;
    file.log(1, 1, &part(&["c"])).await;
    file.log(4, 0, &part(&["a"])).await;
    file.run("insert into changes values (6, 2, 0, 1, x'00'), (8, 2, 0, 1, x'00')").await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let key = |seq, key: &str| (seq, key.to_owned());
    assert_eq!(log(&mut snapshot, (0, 0), 1).await, (vec![key(1, "a"), key(1, "b")], Some((1, 0))));
    assert_eq!(log(&mut snapshot, (1, 0), 1).await, (vec![key(1, "c")], Some((1, 1))));
    assert_eq!(log(&mut snapshot, (1, 0), 9).await, (vec![key(1, "c"), key(4, "a")], Some((4, 0))));
    assert_eq!(log(&mut snapshot, (1, u16::MAX), 9).await, (vec![key(4, "a")], Some((4, 0))));
    assert_eq!(log(&mut snapshot, (4, u16::MAX), 9).await, (vec![], None));
}

#[tokio::test]
async fn a_damaged_row_of_the_log_is_an_error_that_names_it() {
    let mut file = File::new().await;
    file.log(1, 0, b"\x00\x01a\x00\x09b").await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let error = snapshot.changes(LANE, (0, 0), 9, |_, _| ()).await.expect_err("a key is cut");
    assert!(matches!(error, Error::Internal(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.ends_with("`changes` with lane = 7 and seq = 1 and part = 0 are damaged"), "{text}");
    drop(follower);
    file.run("delete from store").await;
    let error = file.follower().await.poll().await.expect_err("nobody knows the id of the store");
    assert!(matches!(error, Error::Internal(_)), "{error:?}");
}

#[tokio::test]
#[should_panic(expected = "as many keys as one SELECT takes")]
async fn a_snapshot_takes_as_many_keys_as_one_select() {
    let file = File::new().await;
    let mut follower = file.follower().await;
    let mut snapshot = follower.snapshot().await.expect("it can be taken");
    let names: Vec<String> = (0..=KEYS_PER_SELECT_MAX).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    snapshot.rows(&keys(&names[1..]), Values::No, |_| ()).await.expect("so many it takes");
    let _ = snapshot.rows(&keys(&names), Values::No, |_| ()).await;
}
