//! Replacing a file by a complete one: written beside the old file, then renamed.

use std::fs::{Permissions, canonicalize, metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The file to replace: a symbolic link stays, and the file that it points to is replaced. `path` itself if nothing is there.
pub(crate) fn destination(path: &Path) -> io::Result<PathBuf> {
    match canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(path.into()),
        Err(_) if path.is_symlink() => Err(io::Error::other("it is a dangling symbolic link")),
        found => found,
    }
}

/// The folder of `path`.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a file beside `path`, with the permissions of the file at `path` if there is one, otherwise with `mode`. Dropping it
/// removes it; persisting it at `path` replaces the old file.
pub(crate) fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    // Checked first, because the error of `tempfile` would not say what is wrong with the folder.
    metadata(folder(path))?;
    let new = tempfile::Builder::new()
        .prefix(".keywire-")
        // The umask applies, as to any new file.
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))
        .map_err(|error| without_name(&error))?;
    if let Ok(old) = metadata(path) {
        new.as_file().set_permissions(old.permissions())?;
    }
    Ok(new)
}

/// The cause of an error of tempfile. Its own text names the new file, which the user does not know.
fn without_name(error: &io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.source());
    let why = inner.and_then(|why| why.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
    why.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
