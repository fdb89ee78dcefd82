//! Tokens, made with `keywire token`, as an operator makes them.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::binary::run_to_end;

/// A file of tokens in a folder of its own.
#[derive(Debug)]
pub struct Tokens {
    folder: TempDir,
}

impl Tokens {
    /// A folder without a file.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder can be made") }
    }

    /// The path of the file.
    #[must_use]
    pub fn file(&self) -> String {
        self.folder.path().join("tokens.json").display().to_string()
    }

    /// Sets the access mode of the file, as `chmod` does.
    pub fn permit(&self, mode: u32) {
        set_permissions(self.file(), Permissions::from_mode(mode)).expect("it is our file");
    }

    /// Makes a new token. `args` are the arguments of `keywire token` besides its name and file.
    #[must_use]
    pub fn make(&self, name: &str, args: &[&str]) -> String {
        let file = self.file();
        let output = run_to_end("keywire", &[&["token", name, "--into", &file], args].concat(), &[]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("a token is ASCII").trim_end().to_owned()
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new()
    }
}
