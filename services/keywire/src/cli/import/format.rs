//! Recognizes inputs that are not lines of write messages, and says what to do with them.

use std::path::Path;

use crate::cli::client::Failure;

/// The first bytes of files of other formats, and the command that unpacks them.
const PACKED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gunzip -c"),
    (b"BZh", "bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ\0", "xz", "unxz -c"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd -c"),
    (b"PK\x03\x04", "zip", "unzip -p"),
];

/// What a line of an import looks like.
const MESSAGE: &str = r#"{"key":"a","value":"1"}"#;

/// Fails if an input that begins with `start` is of another format. `path` is the file of the input; `None` is stdin.
pub(super) fn check(start: &[u8], path: Option<&Path>) -> Result<(), Failure> {
    let (name, file) = path.map_or(("stdin".into(), "FILE".into()), |path| {
        (path.display().to_string(), quoted(&path.display().to_string()))
    });
    match advice(start, &file) {
        Some(advice) => Err(Failure::Refused(format!("{name} cannot be imported as it is: {advice}"))),
        None => Ok(()),
    }
}

/// `file` quoted for a shell, if it needs quotes.
fn quoted(file: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "._-/:,+@%=".contains(char);
    if file.chars().all(is_plain) { file.to_owned() } else { format!("'{}'", file.replace('\'', r"'\''")) }
}

/// The format of an input that begins with `start`, and what to do. `None`: the input may be write messages. `file` is the name of the
/// input in a command.
fn advice(start: &[u8], file: &str) -> Option<String> {
    if let Some((_, name, unpack)) = PACKED.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Some(format!("it is compressed ({name}); unpack it: {unpack} {file} | keywire import -"));
    }
    if start.starts_with(b"SQLite format 3\0") {
        return Some(format!(
            "it is an SQLite database; import a table of it: keywire import --from sqlite://{file}"
        ));
    }
    if start.starts_with(b"\xff\xfe\0\0") || start.starts_with(b"\0\0\xfe\xff") {
        return Some(format!("it is UTF-32; convert it: iconv -f UTF-32 -t UTF-8 {file} | keywire import -"));
    }
    if is_utf16(start) {
        return Some(format!("it is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {file} | keywire import -"));
    }
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let mut lines = start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let (first_line, second_line) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    match start.first()? {
        b'[' if contains(start, b"\"model\"") && contains(start, b"\"fields\"") => {
            Some(format!("it is a dumpdata file of Django; import it: keywire import --from {file}"))
        }
        b'[' => Some(format!(
            "it is a JSON array; write each element on a line of its own: jq -c '.[]' {file} | keywire import -"
        )),
        b'{' if first_line == b"{" => Some(format!(
            "its JSON objects take several lines; write each on one line: jq -c . {file} | keywire import -"
        )),
        b'{' => None,
        _ if is_sql(start) => Some(
            "it is a dump in SQL; load it into a database, and import the table: keywire import --from mysql://user@host:3306/schema, \
             or --from sqlite://path"
                .into(),
        ),
        _ if is_csv(first_line) && !second_line.starts_with(b"{") => Some(format!(
            "it looks like CSV; write each row as a line such as {MESSAGE}, and import those lines"
        )),
        _ => None,
    }
}

/// Whether the text is UTF-16: it begins with a byte order mark, or with an ASCII character of two bytes.
fn is_utf16(start: &[u8]) -> bool {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [0, ascii, ..] | [ascii, 0, ..] => matches!(ascii, b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n'),
        _ => false,
    }
}

/// Whether the text begins like the output of `mysqldump`, `mariadb-dump` or `.dump` of `sqlite3`, or with a statement of one.
fn is_sql(start: &[u8]) -> bool {
    let words: [&[u8]; 6] = [b"-- ", b"/*", b"PRAGMA ", b"CREATE ", b"INSERT ", b"DROP "];
    words.iter().any(|word| start.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word)))
}

/// Whether the line is text without braces, and has at least two columns.
fn is_csv(line: &[u8]) -> bool {
    let is_text = std::str::from_utf8(line).is_ok_and(|line| !line.contains(['{', '}']));
    is_text && line.iter().any(|byte| matches!(byte, b',' | b';' | b'\t'))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named_with_what_to_do() {
        let utf16: Vec<u8> = "\u{feff}{\"key\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: [(&[u8], &str, &str); 19] = [
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32", "iconv -f UTF-32 -t UTF-8 f"),
            (b"\0\0\xfe\xff\0\0\0{", "UTF-32", "iconv -f UTF-32"),
            (b"-- MySQL dump 10.13  Distrib 9.7.0, for Linux\n", "SQL", "--from mysql://"),
            (b"/*M!999999\\- enable the sandbox mode */\n", "SQL", "--from mysql://"),
            (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "SQL", "--from sqlite://"),
            (b"insert into a values (1, 'b');\n", "SQL", "--from mysql://"),
            (b"\x1f\x8b\x08\0rest", "gzip", "gunzip -c f | keywire import -"),
            (b"\x28\xb5\x2f\xfdrest", "Zstandard", "unzstd -c f | keywire import -"),
            (b"SQLite format 3\0", "SQLite", "keywire import --from sqlite://f"),
            (&utf16, "UTF-16", "iconv -f UTF-16 -t UTF-8 f | keywire import -"),
            (&utf16[2..], "UTF-16", "iconv"),
            (b"\0{\0\"", "UTF-16", "iconv"),
            (b"[{\"key\":\"a\",\"value\":\"1\"}]", "JSON array", "jq -c '.[]' f | keywire import -"),
            (b"\xef\xbb\xbf\n [\n  {\n", "JSON array", "jq -c '.[]' f"),
            (
                b"[{\"model\": \"storage.keyvaluepair\", \"pk\": 1, \"fields\": {}}]",
                "Django",
                "keywire import --from f",
            ),
            (
                b"[\n{\n  \"model\": \"a.b\",\n  \"pk\": 1,\n  \"fields\": {\n",
                "Django",
                "keywire import --from f",
            ),
            (b"{\n  \"key\": \"a\",\n", "several lines", "jq -c . f | keywire import -"),
            (b"key,value\r\na,1\r\n", "CSV", MESSAGE),
            (b"a\t1\nb\t2\n", "CSV", MESSAGE),
        ];
        for (start, name, what_to_do) in cases {
            let advice = advice(start, "f").unwrap_or_else(|| panic!("nothing about {name}"));
            assert!(advice.contains(name) && advice.contains(what_to_do), "{advice}");
        }
    }

    #[test]
    fn a_file_is_named_as_a_shell_takes_it() {
        let refused = |path: Option<&str>| match check(b"\x1f\x8b", path.map(Path::new)) {
            Err(Failure::Refused(why)) => why,
            other => panic!("{other:?}"),
        };
        let named = refused(Some("a b/it's.gz"));
        assert!(named.starts_with("a b/it's.gz cannot be imported as it is: "), "{named}");
        assert!(named.contains(r"gunzip -c 'a b/it'\''s.gz' | keywire import -"), "{named}");
        assert!(refused(None).contains("gunzip -c FILE | keywire import -"), "{}", refused(None));
    }

    #[test]
    fn write_messages_are_not_taken_for_another_format() {
        let starts: [&[u8]; 9] = [
            b"",
            b"\n\n",
            b"{\"key\":\"a\",\"value\":\"1\"}\n",
            b"\xef\xbb\xbf {\"key\":\"a\"",
            b"{ \"key\":\"a\",\n",
            b"nonsense\n",
            b"# exported at noon, by me\n{\"key\":\"a\",\"value\":\"1\"}\n",
            b"ab\xff,\n",
            b"{\"key\":\"model\",\"value\":\"fields\"}\n",
        ];
        for start in starts {
            assert_eq!(advice(start, "f"), None, "{start:?}");
        }
    }
}
