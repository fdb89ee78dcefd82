//! `keywire token`: a new token, and what it grants in the file that the services read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::access::Access;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::cli::client::{Failure, printed};

/// The random bytes of a token: as many as its hash has.
const RANDOM_BYTES: usize = 32;

/// Whom to make a token for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokenArgs {
    /// Who will hold it; a name that the file does not have yet
    name: String,

    /// The file of tokens, for `TOKENS_FILE`; made if it is not there. It holds hashes only
    #[arg(long, value_name = "FILE")]
    into: PathBuf,

    /// What the keys begin with that it may read, several times if needed; '' is all keys
    #[arg(long, value_name = "PREFIX")]
    read: Vec<String>,

    /// What the keys begin with that it may write
    #[arg(long, value_name = "PREFIX")]
    write: Vec<String>,

    /// How much all its holders may ask of one process in a second; as much as they can if not given
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u32).range(1..))]
    ops_per_second: Option<u32>,
}

/// Puts a new token into the file and prints it. This is the only time that it can be seen.
pub(crate) fn token(args: &TokenArgs) -> Result<(), Failure> {
    let token = format!("kw_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()));
    let mut hash = String::new();
    for byte in Sha256::digest(&token) {
        write!(hash, "{byte:02x}").expect("a string takes it");
    }
    let mut entry = json!({ "name": args.name, "sha256": hash, "read": args.read, "write": args.write });
    if let Some(ops) = args.ops_per_second {
        entry["ops_per_second"] = ops.into();
    }
    let failed = |error| Failure::File(format!("cannot write {}", args.into.display()), error);
    // A link stays one.
    let path = args.into.canonicalize().unwrap_or_else(|_| args.into.clone());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Held until the new file has taken its place: two at a time would lose one token.
    let lock = File::open(folder).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let new = added(&path, folder, entry).map_err(failed)?;
    // Read as the services read it, before it takes the place of what they read now.
    Access::read(new.path()).map_err(|bad| Failure::Refused(format!("{} {bad}", args.into.display())))?;
    // Before it counts: a token that nobody has seen could not be taken back by who made it.
    printed(writeln!(io::stdout(), "{token}"))?;
    new.persist(&path).map(drop).map_err(|error| failed(error.error))
}

/// A file beside `path` that holds what it holds, and `entry`.
fn added(path: &Path, folder: &Path, entry: Value) -> io::Result<NamedTempFile> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut tokens: Vec<Value> =
        if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text)? };
    tokens.push(entry);
    let mut new = crate::cli::export::beside(folder)?;
    if let Ok(old) = std::fs::metadata(path) {
        let made = new.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        new.as_file().set_permissions(old.permissions())?;
    }
    serde_json::to_writer_pretty(&mut new, &tokens)?;
    new.write_all(b"\n")?;
    new.as_file().sync_all()?;
    Ok(new)
}
