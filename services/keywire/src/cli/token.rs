//! `keywire token`: makes a token and adds its grant to the file that the services read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::access::Access;
use chassis::config::path::file_path;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::cli::client::{Failure, printed};
use crate::cli::replacement::{beside, destination, folder};

/// The random bytes of a token: as many as the bytes of its hash.
const RANDOM_BYTES: usize = 32;

/// Options of `token`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokenArgs {
    /// Name of the client; the file must not contain this name yet
    name: String,

    /// File to add the token to, for `TOKENS_FILE`; created if it does not exist. It stores hashes only
    #[arg(long, value_name = "FILE", value_parser = file_path())]
    into: PathBuf,

    /// Prefix of keys that the client may read; '' means all keys. May be repeated
    #[arg(long, value_name = "PREFIX")]
    read: Vec<String>,

    /// Prefix of keys that the client may write. May be repeated
    #[arg(long, value_name = "PREFIX")]
    write: Vec<String>,

    /// Rate limit in each process, in operations per second of all clients with this token; default: none
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u32).range(1..))]
    ops_per_second: Option<u32>,
}

/// Why a token cannot be added.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("the file cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("the file is not a list of tokens")]
    NoTokens,
    #[error("the file has a token with this name")]
    NameExists,
}

/// Adds a new token to the file and prints it. Only the hash of the token is stored.
pub(crate) fn token(args: &TokenArgs) -> Result<(), Failure> {
    if args.read.is_empty() && args.write.is_empty() {
        let message =
            "the token would grant nothing: give it --read PREFIX or --write PREFIX ('' for all keys)";
        return Err(Failure::Usage(message.into()));
    }
    let token = format!("kw_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()));
    let mut hash = String::new();
    for byte in Sha256::digest(&token) {
        write!(hash, "{byte:02x}").expect("a String takes any text");
    }
    let mut entry = json!({ "name": args.name, "sha256": hash, "read": args.read, "write": args.write });
    if let Some(ops) = args.ops_per_second {
        entry["ops_per_second"] = ops.into();
    }
    let failed = |error| Failure::File(format!("cannot write {}", args.into.display()), error);
    let path = destination(&args.into).map_err(failed)?;
    // The lock is held until the new file has replaced the old one: two processes at the same time would lose a token.
    let lock = File::open(folder(&path)).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let new = with_entry(&path, entry).map_err(|error| match error {
        TokenError::Io(error) => failed(error),
        // The file may hold a secret, so nothing of it is shown.
        TokenError::NoTokens => Failure::Refused(format!(
            "{} is not a list of tokens: --into needs a file that this command made, or a new one",
            args.into.display()
        )),
        TokenError::NameExists => Failure::Refused(format!(
            "{} has a token with the name {} already: choose another name, or remove that token from the file, which revokes it at \
             the next start of the services",
            args.into.display(),
            args.name
        )),
    })?;
    // The services must be able to read the new file, so it is read as they read it before it replaces the old one.
    Access::read(new.path()).map_err(|bad| Failure::Refused(format!("{} {bad}", args.into.display())))?;
    // Printed before it becomes valid: a token that cannot be printed must not be in the file.
    printed(writeln!(io::stdout(), "{token}"))?;
    new.persist(&path).map(drop).map_err(|error| failed(error.error))
}

/// A file beside `path` with the tokens of `path` and `entry`. Owner and permissions are those of `path`.
fn with_entry(path: &Path, entry: Value) -> Result<NamedTempFile, TokenError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut tokens: Vec<Value> = if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_json::from_str(&text).map_err(|_| TokenError::NoTokens)?
    };
    if tokens.iter().any(|token| token["name"] == entry["name"]) {
        return Err(TokenError::NameExists);
    }
    tokens.push(entry);
    // The services may run as another user, and a file of hashes lets nobody in. The umask applies.
    let mut new = beside(path, 0o666)?;
    if let Ok(old) = std::fs::metadata(path) {
        let made = new.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    serde_json::to_writer_pretty(&mut new, &tokens).map_err(io::Error::from)?;
    new.write_all(b"\n")?;
    new.as_file().sync_all()?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_list_of_tokens_is_named_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["kw_secret\n", "{}", "[1"] {
            let into = folder.path().join("tokens.json");
            std::fs::write(&into, text).expect("writable");
            let args = TokenArgs {
                name: "shop".into(),
                into: into.clone(),
                read: vec![String::new()],
                write: vec![],
                ops_per_second: None,
            };
            match token(&args) {
                Err(Failure::Refused(why)) => {
                    assert!(
                        why.contains("tokens.json is not a list of tokens") && !why.contains("secret"),
                        "{why}"
                    );
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(std::fs::read_to_string(&into).expect("readable"), text);
        }
    }
}
