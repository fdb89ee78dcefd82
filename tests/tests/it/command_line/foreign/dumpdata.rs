//! Files of Django's `dumpdata`, and the options of a source.

use e2e::{BinaryRun, EngineKind, System, run_to_end};

use super::super::{env, heard, keywire, printed, said};
use super::{map, stored};

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
