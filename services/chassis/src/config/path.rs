//! Checks the paths in settings. Only a shell replaces `~` and `$HOME`, and a path from a file may end with a stray line end. Such a path
//! would name another file than the user means.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// Reads the value of an option as the path of a file.
#[must_use]
pub fn file_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| match check_path(&path.to_string_lossy()) {
        Ok(()) => Ok(PathBuf::from(path)),
        Err(why) => Err(why),
    })
}

/// Reads the value of an option as the URL of a database.
///
/// # Errors
/// The character that is wrong, and what to do. The rest of the URL is checked when the store is made.
pub fn database_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("sqlite://") {
        Some(path) => check_path(path)?,
        None => check_characters(text)?,
    }
    Ok(text.to_owned())
}

/// Reads the value of an option as a text without control characters and without spaces around it.
///
/// # Errors
/// The character that is wrong, and what to do.
pub fn plain_text(text: &str) -> Result<String, String> {
    check_characters(text)?;
    Ok(text.to_owned())
}

/// Checks that `path` has no part that only a shell would replace.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check_path(path: &str) -> Result<(), String> {
    check_characters(path)?;
    if path == "~" || path.starts_with("~/") {
        return Err("no shell replaces `~` here: write the path of the home folder".to_owned());
    }
    // A dollar sign is allowed, unless it begins a variable or a command of a shell.
    let mut rests = path.split('$').skip(1);
    let is_variable =
        |rest: &str| rest.starts_with(|first: char| first.is_ascii_alphabetic() || "_{(".contains(first));
    if let Some(variable) = rests.find(|rest| is_variable(rest)) {
        let name = variable.split('/').next().unwrap_or(variable);
        return Err(format!("no shell replaces `${name}` here: write the path itself"));
    }
    Ok(())
}

/// Checks that `text` has no control characters, and no spaces around it.
fn check_characters(text: &str) -> Result<(), String> {
    if let Some(control) = text.chars().find(|char| char.is_control()) {
        let control = control.escape_default();
        return Err(format!(
            "it contains the control character {control}: remove it (a file with Windows line ends has \\r)"
        ));
    }
    if text.trim() != text {
        return Err("it begins or ends with a space: remove it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_replaces_and_what_nobody_types_is_refused() {
        for (path, named) in [
            ("~", "`~`"),
            ("~/kv.db", "`~`"),
            ("$HOME/kv.db", "`$HOME`"),
            ("/data/${DIR}/kv.db", "`${DIR}`"),
            ("$(pwd)/kv.db", "`$(pwd)`"),
            ("kv.db\r", "\\r"),
            ("k\nv.db", "\\n"),
            ("kv.db\u{7f}", "\\u{7f}"),
            ("kv.db ", "space"),
            (" kv.db", "space"),
        ] {
            assert!(check_path(path).expect_err(path).contains(named), "{path:?}");
            let refusal = database_url(&format!("sqlite://{path}")).expect_err(path);
            assert!(refusal.contains(named), "{refusal}");
        }
        for path in ["kv.db", "a~b", "x/~/kv", "Q3$.db", "$5", "my files/kv.db", "é"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_password_may_contain_what_a_path_may_not() {
        for url in ["mysql://u:$word~@127.0.0.1/x", "mysql://u:~/a@127.0.0.1/x", "ftp://~"] {
            assert_eq!(database_url(url).as_deref(), Ok(url));
        }
        for url in
            ["mysql://u@127.0.0.1/x\r", "mysql://u@127.0.0.1/x\n", "mysql://u@127.0.0.1/ x\t", " mysql://h/x"]
        {
            assert!(database_url(url).is_err(), "{url:?}");
        }
    }
}
