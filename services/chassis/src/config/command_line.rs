//! The command line and the environment of a process, and how an invalid one is refused.

use std::ffi::OsStr;
use std::fmt::Display;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::process::terminal;

/// Reads the command line and the environment. An empty variable counts as not set: Docker Compose passes an unset variable as
/// an empty one.
///
/// # Errors
/// The exit code with which the process must end: 0 after `--help` and `--version`, 64 after one line on stderr.
pub fn parse<C: clap::Parser>() -> Result<C, ExitCode> {
    let mut command = without_values_of_variables(without_empty_variables(C::command()));
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed stdout is no reason to fail.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => usage_error(message(error)),
    })
}

/// `command` without the variables that are empty.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// `command` whose help names variables and never shows their values. A database URL may contain a password, and so may an option that
/// is added later.
fn without_values_of_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values_of_variables)
}

/// Prints on stderr, in one line, why the configuration is refused. The exit code is 64 (`EX_USAGE`).
pub fn usage_error(message: impl Display) -> ExitCode {
    terminal::say_last(message);
    ExitCode::from(64)
}

/// The message of clap in one line, without usage and passwords. The tip of clap, if there is one, follows in parentheses.
pub(super) fn message(mut error: clap::Error) -> String {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = terminal::one_line(&without_password(value));
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    let message = error.to_string();
    let mut paragraphs = message.split("\n\n").map(|lines| {
        let lines: Vec<&str> = lines.lines().map(str::trim).collect();
        lines.join(" ").trim().to_owned()
    });
    let first = paragraphs.next().unwrap_or_default();
    match paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(ToOwned::to_owned)) {
        Some(tip) => format!("{first} ({tip})"),
        None => first,
    }
}

/// `text` without the user and the password, if it is a URL that has them.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(without_password("http://u:p@s/w@h:1/x"), "http://…@h:1/x");
        for text in ["http://h:1/x", "a@b", ""] {
            assert_eq!(without_password(text), text);
        }
    }
}
