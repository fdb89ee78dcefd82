//! `keywire ls`: lists keys in byte order, one per line.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufWriter, Write};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::cli::client::{Failure, ReadTargetArgs, Target, encoded, fetch, printed};

/// Options of `ls`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    /// Prefix of the keys; default: all keys
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,

    /// Show the rev, and the size of the value in bytes, before each key
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    items: Vec<PageItem>,
    /// The cursor of the next page; `None` on the last page.
    next: Option<String>,
}

#[derive(Deserialize)]
struct PageItem {
    key: String,
    value: Size,
    rev: u64,
}

/// The length in bytes of a string. The string itself is dropped.
struct Size(usize);

/// Prints the keys, page by page.
pub(crate) async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut after = None;
    loop {
        let page = page(args.target.read_target(), &args.prefix, after.as_deref()).await?;
        for item in &page.items {
            printed(print(&mut out, item, args.long))?;
        }
        printed(out.flush())?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn page(target: Target<'_>, prefix: &str, after: Option<&str>) -> Result<Page, Failure> {
    let mut path = "/storage?limit=1000".to_owned();
    if !prefix.is_empty() {
        path.extend(["&prefix="].into_iter().chain(encoded(prefix)));
    }
    if let Some(after) = after {
        path.extend(["&after="].into_iter().chain(encoded(after)));
    }
    fetch(target, &path).await?.json().await
}

fn print(out: &mut impl Write, item: &PageItem, long: bool) -> std::io::Result<()> {
    if long {
        write!(out, "{:>16} {:>7} ", item.rev, item.value.0)?;
    }
    writeln!(out, "{}", shown(&item.key))
}

/// The key as one line. A key with control characters is shown as a JSON string, and so is a key that begins with a quote:
/// otherwise it could be taken for a JSON string.
fn shown(key: &str) -> Cow<'_, str> {
    if !key.starts_with('"') && !key.contains(char::is_control) {
        return Cow::Borrowed(key);
    }
    // JSON does not escape the control characters above ASCII.
    let json = serde_json::Value::from(key).to_string();
    let chars = json.chars().map(|char| match char {
        char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
        char => char.into(),
    });
    Cow::Owned(chars.collect())
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Size, E> {
                Ok(Size(value.len()))
            }
        }
        deserializer.deserialize_str(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_line_of_its_own() {
        let keys = ["a b", "a\nb", "\"a\\nb\"", "\u{1b}[2J", "é \u{1f600}", "\u{85}"];
        let lines = keys.map(|key| shown(key).into_owned());
        assert_eq!(lines[0], "a b");
        assert_eq!(lines[1], r#""a\nb""#);
        assert_eq!(lines[2], r#""\"a\\nb\"""#);
        assert_eq!(lines[3], r#""\u001b[2J""#);
        assert_eq!(lines[4], "é \u{1f600}");
        assert_eq!(lines[5], r#""\u0085""#);
    }

    #[test]
    fn a_page_keeps_the_size_of_its_values() {
        let page = r#"{"items":[{"key":"k","value":"a\né","rev":7}],"next":null,"message":"","status":200}"#;
        let page: Page = serde_json::from_str(page).expect("a page");
        assert_eq!((page.items[0].value.0, page.items[0].rev, page.next), (4, 7, None));
    }
}
