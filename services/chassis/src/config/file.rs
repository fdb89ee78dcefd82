//! Reading the small files that settings name: tokens, passwords, certificates and keys.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest such file, in bytes. A path may name a device that never ends.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The content of a file. A pipe is read to its end.
///
/// # Errors
/// The file cannot be read, is empty, or has more than 1 MiB. An empty file is never what an operator means: a file whose content
/// was lost must not count as a setting that is not there.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty")),
        1..=FILE_BYTES_MAX => Ok(content),
        _ => Err(io::Error::other("it has more than 1 MiB")),
    }
}

/// The content of a file of text.
///
/// # Errors
/// Those of [`read_file`], and text that is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let content = read_file(path)?;
    String::from_utf8(content).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    /// The name of the reading end of a pipe that has `content`, as a shell makes it for `<(command)`.
    fn read_from_pipe(content: &[u8]) -> io::Result<String> {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(content)?;
        drop(writer);
        read_text(Path::new(&format!("/proc/self/fd/{}", reader.as_raw_fd())))
    }

    #[test]
    fn a_file_or_a_pipe_is_read_whole_and_never_counts_as_empty_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let with = |content: &[u8]| {
            std::fs::write(&path, content).expect("writable");
            read_text(&path)
        };
        let largest = vec![b'a'; 1024 * 1024];
        assert_eq!(with(b" a\n").expect("text"), " a\n");
        assert_eq!(with(&largest).expect("text").len(), largest.len());
        assert_eq!(read_from_pipe(b"a").expect("text"), "a");
        for (found, named) in [
            (with(b""), "empty"),
            (read_from_pipe(b""), "empty"),
            (read_text(Path::new("/dev/null")), "empty"),
            (with(&[largest, b"a".to_vec()].concat()), "1 MiB"),
            (read_text(Path::new("/dev/zero")), "1 MiB"),
            (with(b"\xff"), "UTF-8"),
            (read_text(folder.path()), "directory"),
            (read_text(&folder.path().join("missing")), "No such file"),
        ] {
            let refused = found.expect_err(named).to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
