//! `keywire import --from`: a table of another program, such as that of key-value-django, is in Keywire afterwards, to the byte.

mod dumpdata;
mod source;

use std::collections::BTreeMap;

use e2e::{EngineKind, System, promises};

use self::source::{ODD, Source};
use super::{heard, keywire, printed, said};

promises! {
    every:
        every_row_of_a_django_table_is_there_to_the_byte,
        verify_names_missing_different_and_extra_keys,
        if_absent_leaves_what_is_there,
        any_table_with_text_can_be_imported,
        an_import_that_runs_again_brings_what_has_changed;
    sql:
        a_source_that_ignores_case_is_warned_about,
        text_of_any_character_set_is_imported_as_utf8,
        a_column_that_holds_no_text_is_refused;
}

/// Everything that the system has.
fn stored(system: &System) -> BTreeMap<String, String> {
    let export = keywire(system, &["export"]);
    assert!(export.status.success(), "{export:?}");
    let lines = String::from_utf8(export.stdout).expect("an export is UTF-8");
    let text =
        |line: &serde_json::Value, member: &str| line[member].as_str().expect("it is there").to_owned();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .map(|line| (text(&line, "key"), text(&line, "value")))
        .collect()
}

fn map(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

async fn every_row_of_a_django_table_is_there_to_the_byte(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::odd(&system).await;
    source.insert(&[("", "of nothing")]).await;
    let imported = source.import(&[]);
    let said = heard(&imported);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(imported.status.code(), Some(1), "{said}");
    assert_eq!(lines[0], r#"keywire: row 1: the key "": it must not be empty"#);
    assert!(lines[1].starts_with("keywire: 12 rows written, 1 refused in ") && lines.len() == 2, "{said}");
    assert_eq!(stored(&system), map(&ODD));

    source.execute("delete from storage_keyvaluepair where `key` = ''").await;
    let again = source.import(&[]);
    assert!(again.status.success() && heard(&again).starts_with("keywire: 12 rows written in "), "{again:?}");
    let verified = source.import(&["--verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert!(heard(&verified).starts_with("keywire: 12 rows compared, no difference in "), "{verified:?}");
}

async fn verify_names_missing_different_and_extra_keys(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::odd(&system).await;
    assert!(source.import(&[]).status.success());
    source.execute("update storage_keyvaluepair set value = 'Upper' where `key` = 'A'").await;
    source.insert(&[("a\n", "new"), ("", "")]).await;
    printed(keywire(&system, &["put", "extra", "v"]));
    printed(keywire(&system, &["put", "zz", "v"]));
    printed(keywire(&system, &["del", "empty"]));
    let verified = source.import(&["--verify"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let said = heard(&verified);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..6],
        [
            r#"keywire: refused: the key "": it must not be empty"#,
            r#"keywire: different: "A""#,
            r#"keywire: missing on the server: "a\n""#,
            r#"keywire: missing on the server: "empty""#,
            r#"keywire: only on the server: "extra""#,
            r#"keywire: only on the server: "zz""#,
        ]
    );
    let summary = "keywire: 14 rows compared, 1 refused, 2 missing on the server, 1 different, 2 only on the server in ";
    assert!(lines[6].starts_with(summary) && lines.len() == 7, "{said}");
    assert_eq!(system.read("empty").await.status, 404, "nothing was written");
}

async fn if_absent_leaves_what_is_there(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::odd(&system).await;
    printed(keywire(&system, &["put", "A", "newer"]));
    let imported = source.import(&["--if-absent"]);
    assert!(imported.status.success(), "{imported:?}");
    assert!(heard(&imported).starts_with("keywire: 11 rows written, 1 there already in "), "{imported:?}");
    let mut expected = map(&ODD);
    expected.insert("A".into(), "newer".into());
    assert_eq!(stored(&system), expected);
}

async fn an_import_that_runs_again_brings_what_has_changed(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::odd(&system).await;
    assert!(source.import(&[]).status.success());
    source.execute("update storage_keyvaluepair set value = 'late' where `key` = 'a'").await;
    source.insert(&[("late", "v")]).await;
    assert!(source.import(&[]).status.success());
    let verified = source.import(&["--verify"]);
    assert!(heard(&verified).starts_with("keywire: 13 rows compared, no difference in "), "{verified:?}");
    assert_eq!(system.read("a").await.json()["value"], "late");
}

async fn any_table_with_text_can_be_imported(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::new(&system);
    source
        .execute("create table `odd `` table` (id integer, `the key` varchar(600), `the \" value` text)")
        .await;
    let long = "k".repeat(513);
    for row in ["'twice', 'first'", "'null', null", "null, 'v'", "'kept', 'v'", &format!("'{long}', 'v'")] {
        source.execute(&format!("insert into `odd `` table` values (1, {row})")).await;
    }
    source.execute("insert into `odd `` table` values (2, 'twice', 'first')").await;
    let imported = source.import(&[
        "--table",
        "odd ` table",
        "--key-column",
        "the key",
        "--value-column",
        "the \" value",
    ]);
    assert_eq!(imported.status.code(), Some(1), "{imported:?}");
    let said = heard(&imported);
    for named in [
        "a key is not text but null".to_owned(),
        format!("the key \"{}\"...: it has 513 bytes; at most 512 are allowed", &long[..128]),
        "the key \"null\": its value is not text but null".to_owned(),
        "the key \"twice\": it is there more than once".to_owned(),
        "keywire: 2 rows written, 4 refused in ".to_owned(),
    ] {
        assert!(said.contains(&named), "{named}: {said}");
    }
    assert_eq!(stored(&system), map(&[("kept", "v"), ("twice", "first")]));
    for options in [&["--table", "nothing"][..], &["--table", "odd ` table", "--key-column", "nothing"]] {
        let refused = super::said(&source.import(options), 1);
        assert!(
            refused.starts_with("keywire: cannot read the source: ") && refused.contains("nothing"),
            "{refused}"
        );
    }
}

async fn a_source_that_ignores_case_is_warned_about(engine: EngineKind) {
    let system = System::start(engine).await;
    let charset = "default charset utf8mb3 collate utf8mb3_general_ci";
    let source = Source::django_with(&system, charset).await;
    source.insert(&[("A", "1"), ("b ", "2")]).await;
    for options in [&[][..], &["--verify"], &["--dry-run"]] {
        let output = source.import(options);
        assert!(output.status.success(), "{output:?}");
        let said = heard(&output);
        let warning = said.lines().next().unwrap_or_default();
        // Old servers call it utf8_general_ci.
        assert!(warning.contains("compares keys without case (utf8") && warning.contains("404"), "{said}");
    }
    assert_eq!(stored(&system), map(&[("A", "1"), ("b ", "2")]));
}

async fn text_of_any_character_set_is_imported_as_utf8(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::new(&system);
    let columns =
        "`key` varchar(100) character set latin1 primary key, value varchar(100) character set utf16";
    source.execute(&format!("create table storage_keyvaluepair ({columns})")).await;
    source.insert(&[("\u{fc}\u{e9}", "\u{1f600}\u{20ac}"), ("\u{df}", "\u{e4}")]).await;
    source.execute("create table bytes (`key` varbinary(100) primary key, value mediumblob)").await;
    source.execute("insert into bytes values (x'c3a4', x'f09f9880'), ('broken', x'ff')").await;
    assert!(source.import(&[]).status.success());
    let bytes = source.import(&["--table", "bytes"]);
    assert_eq!(bytes.status.code(), Some(1), "{bytes:?}");
    assert!(
        heard(&bytes).contains(r#"the key "broken": its value is not UTF-8 from byte 1 on"#),
        "{bytes:?}"
    );
    let expected = [("\u{fc}\u{e9}", "\u{1f600}\u{20ac}"), ("\u{df}", "\u{e4}"), ("\u{e4}", "\u{1f600}")];
    assert_eq!(stored(&system), map(&expected));
}

async fn a_column_that_holds_no_text_is_refused(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::new(&system);
    source.execute("create table counts (`key` varchar(100) primary key, value int)").await;
    let refused = said(&source.import(&["--table", "counts"]), 1);
    assert_eq!(
        refused,
        "keywire: cannot read the source: the column \"value\" is int, not text: make a view that casts it to char"
    );
    source.execute("insert into counts values ('k', 7)").await;
    source.execute("create view texts as select `key`, cast(value as char) as value from counts").await;
    let imported = source.import(&["--table", "texts"]);
    assert!(imported.status.success(), "{imported:?}");
    assert_eq!(stored(&system), map(&[("k", "7")]));
}
