//! `keywire import --from`: a table of another program, such as that of key-value-django, is in Keywire afterwards, to the byte.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;

use e2e::{BinaryRun, EngineKind, Role, System, promises, run_to_end};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::{env, heard, keywire, printed, said};

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

/// A database of another program.
struct Source<'s> {
    system: &'s System,
    /// The file of `SQLite`. A table on a server is in the schema of the system.
    file: PathBuf,
}

impl<'s> Source<'s> {
    fn new(system: &'s System) -> Self {
        Self { system, file: system.database.folder().join("db.sqlite3") }
    }

    /// A database with the table that the migration of key-value-django makes (`manage.py sqlmigrate storage 0001`). On a server it
    /// compares byte for byte.
    async fn django(system: &'s System) -> Self {
        let collation = match system.database.engine {
            EngineKind::Sqlite => "",
            EngineKind::MariaDb => "default charset utf8mb4 collate utf8mb4_nopad_bin",
            EngineKind::MySql => "default charset utf8mb4 collate utf8mb4_0900_bin",
        };
        Self::django_with(system, collation).await
    }

    async fn django_with(system: &'s System, collation: &str) -> Self {
        let source = Self::new(system);
        let columns = "`key` varchar(100) NOT NULL PRIMARY KEY, `value` varchar(100) NOT NULL";
        source.execute(&format!("CREATE TABLE `storage_keyvaluepair` ({columns}) {collation}")).await;
        source
    }

    async fn execute(&self, statement: &str) {
        if self.system.database.engine != EngineKind::Sqlite {
            return self.system.database.execute(statement).await;
        }
        let options = SqliteConnectOptions::new().filename(&self.file).create_if_missing(true);
        let mut connection = options.connect().await.expect("a file can be made");
        connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("valid SQL");
    }

    async fn insert(&self, rows: &[(&str, &str)]) {
        for (key, value) in rows {
            let (key, value) = (self.literal(key), self.literal(value));
            self.execute(&format!("insert into storage_keyvaluepair values ({key}, {value})")).await;
        }
    }

    /// `text` in SQL.
    fn literal(&self, text: &str) -> String {
        let hex = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        match self.system.database.engine {
            EngineKind::Sqlite => format!("cast(x'{hex}' as text)"),
            EngineKind::MariaDb | EngineKind::MySql => format!("convert(x'{hex}' using utf8mb4)"),
        }
    }

    /// Runs `keywire import` from here.
    fn import(&self, options: &[&str]) -> Output {
        let mut args = vec!["import".to_owned()];
        if self.system.database.engine == EngineKind::Sqlite {
            args.extend(["--from".into(), format!("sqlite://{}", self.file.display())]);
        } else {
            let login = self.system.database.env(Role::Migration);
            let flags = ["--from", "--from-password-file"].into_iter().map(str::to_owned);
            args.extend(flags.zip(login).flat_map(|(flag, (_, value))| [flag, value]));
        }
        args.extend(options.iter().map(|&option| option.to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        keywire(self.system, &args)
    }
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

/// Rows that only a byte for byte comparison keeps apart, and rows that text formats like to spoil.
const ODD: [(&str, &str); 12] = [
    ("A", "upper"),
    ("a", "lower"),
    ("a ", "trailing blank "),
    ("\u{e4}", "\u{e4}\u{301}"),
    ("emoji \u{1f600}", "\u{1f468}\u{200d}\u{1f469}"),
    ("a/b?c=d&e#f%41+", "slash"),
    ("quotes \"'`\\", "\"'`\\"),
    ("line\nend\r\u{1}\u{7f}", "\u{0}\t\n"),
    ("\u{feff}", "\u{2028}"),
    ("empty", ""),
    ("..", "dots"),
    ("1", "true"),
];

async fn every_row_of_a_django_table_is_there_to_the_byte(engine: EngineKind) {
    let system = System::start(engine).await;
    let source = Source::django(&system).await;
    source.insert(&ODD).await;
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
    let source = Source::django(&system).await;
    source.insert(&ODD).await;
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
    let source = Source::django(&system).await;
    source.insert(&ODD).await;
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
    let source = Source::django(&system).await;
    source.insert(&ODD).await;
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

/// What `manage.py dumpdata` prints: keys in the order of the database, not of their bytes.
const DUMPDATA: &str = r#"[{"model": "storage.keyvaluepair", "pk": "b", "fields": {"value": "v\n\"\u0001"}}, {"model": "auth.group", "pk": 1, "fields": {"name": "g", "permissions": []}}, {"model": "storage.keyvaluepair", "pk": "a😀", "fields": {"value": ""}}, {"model": "storage.keyvaluepair", "pk": "A", "fields": {"value": "x"}}]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dumpdata_file_is_imported_from_a_file_and_from_stdin() {
    let system = System::start(EngineKind::Sqlite).await;
    let file = system.database.folder().join("dump.json");
    std::fs::write(&file, DUMPDATA).expect("a file can be written");
    let from = file.display().to_string();
    let expected = map(&[("b", "v\n\"\u{1}"), ("a\u{1f600}", ""), ("A", "x")]);
    for options in [&["import", "--from", &from][..], &["import", "--from", "-"]] {
        let mut import = BinaryRun::start("keywire", options, &env(&system));
        if options[2] == "-" {
            import.feed(DUMPDATA.as_bytes());
        }
        let output = import.end();
        assert!(output.status.success(), "{output:?}");
        let said = heard(&output);
        assert!(
            said.starts_with("keywire: 1 of other models left out\nkeywire: 3 rows written in "),
            "{said}"
        );
        assert_eq!(stored(&system), expected);
        for key in expected.keys() {
            printed(keywire(&system, &["del", key]));
        }
    }
    std::fs::write(&file, &DUMPDATA[..200]).expect("a file can be written");
    let cut = said(&keywire(&system, &["import", "--from", &from]), 1);
    assert!(cut.starts_with(&format!("keywire: {from} is no JSON of dumpdata: EOF ")), "{cut}");
    assert_eq!(system.database.entries().await, 3, "only the deleted ones: a file is read to its end first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_needs_no_server() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("dump.json");
    let nulls: Vec<String> = (0..30)
        .map(|number| {
            format!(r#"{{"model":"storage.keyvaluepair","pk":"n{number}","fields":{{"value":null}}}}"#)
        })
        .collect();
    std::fs::write(&file, format!("{}, {}]", &DUMPDATA[..DUMPDATA.len() - 1], nulls.join(", ")))
        .expect("written");
    let nowhere = [("KEYWIRE_URL".to_owned(), "http://127.0.0.1:1".to_owned())];
    let output =
        run_to_end("keywire", &["import", "--dry-run", "--from", &file.display().to_string()], &nowhere);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = heard(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[1], r#"keywire: refused: the key "n0": its value is not text but null"#);
    assert_eq!(lines[21], "keywire: refused: more, which are only counted");
    assert!(lines[22].starts_with("keywire: 3 rows would be written, 30 refused in "), "{said}");
    assert_eq!(lines.len(), 23, "{said}");
}

#[test]
fn a_source_that_cannot_be_used_is_one_line_without_the_password() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let missing = folder.path().join("none.db").display().to_string();
    for (from, code, why) in [
        ("mysql://user:secret@127.0.0.1:1/schema", 69, "cannot read the source: "),
        ("mysql://user:secret@127.0.0.1:1", 64, "--from must name a schema"),
        ("mysql://user:secret@127.0.0.1:99999/schema", 64, "--from is not a URL"),
        ("postgres://user:secret@127.0.0.1/schema", 64, "--from must begin with mysql:// or sqlite://"),
        (&format!("sqlite://{missing}"), 74, "cannot read "),
        (&missing, 74, "cannot read "),
    ] {
        let said = said(&run_to_end("keywire", &["import", "--from", from], &[]), code);
        assert!(said.starts_with(&format!("keywire: {why}")) && !said.contains("secret"), "{from}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "no file was made");
}

#[test]
fn options_of_a_source_are_refused_without_one() {
    let alone: [&[&str]; 7] = [
        &["--verify"],
        &["--dry-run"],
        &["--if-absent"],
        &["--table", "t"],
        &["--key-column", "k"],
        &["--value-column", "v"],
        &["--from-password-file", "/dev/null"],
    ];
    for options in alone {
        let said = said(&run_to_end("keywire", &[&["import"], options].concat(), &[]), 64);
        assert!(said.contains("--from"), "{said}");
    }
    for both in [["--verify", "--dry-run"], ["--verify", "--if-absent"], ["--if-absent", "--dry-run"]] {
        said(&run_to_end("keywire", &[&["import", "--from", "-"][..], &both].concat(), &[]), 64);
    }
    said(&run_to_end("keywire", &["import", "lines.ndjson", "--from", "-"], &[]), 64);
}
