//! What the command line says to somebody who does not know it yet.

use e2e::{EngineKind, System, Tokens, promises, run_to_end};

use super::{env, heard, keywire, printed, said};

promises! {
    sqlite:
        other_names_of_a_command_work,
        a_missing_or_unknown_token_is_told_how_to_be_given;
}

async fn other_names_of_a_command_work(engine: EngineKind) {
    let system = System::start(engine).await;
    printed(keywire(&system, &["set", "a", "1"]));
    printed(keywire(&system, &["set", "b", "2"]));
    assert_eq!(printed(keywire(&system, &["list"])), "a\nb\n");
    printed(keywire(&system, &["delete", "a"]));
    printed(keywire(&system, &["rm", "b"]));
    assert_eq!(printed(keywire(&system, &["count"])), "0\n");
}

#[test]
fn a_misspelt_command_or_option_is_named_with_a_similar_one() {
    let similar = [
        (&["imprt"][..], "'import'"),
        (&["exports"], "'export'"),
        (&["put", "k", "v", "--tll", "5"], "'--ttl'"),
        (&["--admin-adr", "127.0.0.1:0"], "'--admin-addr'"),
    ];
    for (args, named) in similar {
        let said = said(&run_to_end("keywire", args, &[]), 64);
        assert!(said.contains("similar") && said.contains(named), "{args:?}: {said}");
    }
}

async fn a_missing_or_unknown_token_is_told_how_to_be_given(engine: EngineKind) {
    let tokens = Tokens::new();
    let other = Tokens::new().make("other", &["--read", ""]);
    drop(tokens.make("app", &["--read", "", "--write", ""]));
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let file = system.database.folder().join("token");
    std::fs::write(&file, other).expect("a file can be written");
    let mut unknown = env(&system);
    unknown.push(("KEYWIRE_TOKEN_FILE".into(), file.display().to_string()));
    let how =
        "; name a file that has it with --token-file or KEYWIRE_TOKEN_FILE (`keywire token` makes tokens)";
    for args in [&["get", "k"][..], &["put", "k", "v"], &["ls"], &["import"], &["del", "--all"]] {
        let none = said(&keywire(&system, args), 1);
        assert_eq!(none, format!("keywire: a token is needed{how}"), "{args:?}");
        let unknown = said(&run_to_end("keywire", args, &unknown), 1);
        assert_eq!(unknown, format!("keywire: this token is not known{how}"), "{args:?}");
    }
}

#[test]
fn a_token_with_a_name_that_is_there_is_told_what_to_do() {
    let tokens = Tokens::new();
    drop(tokens.make("app", &["--read", ""]));
    let before = std::fs::read_to_string(tokens.file()).expect("it was made");
    let again = run_to_end("keywire", &["token", "app", "--read", "", "--into", &tokens.file()], &[]);
    let said = said(&again, 1);
    let expected = format!("keywire: {} has a token with the name app already: ", tokens.file());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("choose another name") && said.contains("revokes"), "{said}");
    assert_eq!(std::fs::read_to_string(tokens.file()).expect("it is there"), before);
}

#[test]
fn a_file_in_a_folder_that_is_not_there_is_told_so() {
    let path = "/no/such/folder/file";
    for args in [&["token", "app", "--read", "", "--into", path][..], &["export", path]] {
        let said = said(&run_to_end("keywire", args, &[]), 74);
        assert_eq!(said, format!("keywire: cannot write {path}: No such file or directory (os error 2)"));
    }
}

#[test]
fn every_help_fits_a_terminal_of_80_columns() {
    let columns = [("COLUMNS".to_owned(), "80".to_owned())];
    let commands =
        ["check", "put", "get", "del", "ls", "watch", "count", "export", "import", "token", "bench"]
            .map(Some);
    for command in commands.into_iter().chain([None]) {
        let args: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        let help = run_to_end("keywire", &args, &columns);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && heard(&help).is_empty(), "{help:?}");
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{command:?}");
    }
}

#[test]
fn every_command_says_its_exit_codes_and_where_it_looks() {
    for command in ["put", "get", "del", "ls", "watch", "count", "export", "import"] {
        let help = run_to_end("keywire", &[command, "--help"], &[]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success(), "{help:?}");
        for word in ["Exit codes: 0", "69", "KEYWIRE_URL", "http://127.0.0.1:8000"] {
            assert!(text.contains(word), "{command} --help does not name {word}: {text}");
        }
        assert!(!text.contains("DATABASE_URL") && !text.contains("ADMIN_ADDR"), "{text}");
    }
}
