//! `keywire ls`: the keys there are, one a line, in the order of their bytes.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufWriter, Write};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::cli::client::{Failure, Place, Side, encoded, fetch, printed};

/// Which keys to list, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    /// What the keys begin with; all keys if not given
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,

    /// Show the rev and the bytes of the value before each key
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    place: Place,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    /// Where the next page begins; none after the last.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    key: String,
    value: Size,
    rev: u64,
}

/// The bytes of a string that is not kept.
struct Size(usize);

/// Prints the keys, page by page.
pub(crate) async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut after = None;
    loop {
        let page = page(args.place.side(), &args.prefix, after.as_deref()).await?;
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

async fn page(side: Side<'_>, prefix: &str, after: Option<&str>) -> Result<Page, Failure> {
    let mut target = "/storage?limit=1000".to_owned();
    if !prefix.is_empty() {
        target.extend(["&prefix="].into_iter().chain(encoded(prefix)));
    }
    if let Some(after) = after {
        target.extend(["&after="].into_iter().chain(encoded(after)));
    }
    let body = fetch(side, &target).await?.whole().await?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::Unavailable(format!("not an answer of Keywire: {error}")))
}

fn print(out: &mut impl Write, item: &Item, long: bool) -> std::io::Result<()> {
    if long {
        write!(out, "{:>16} {:>7} ", item.rev, item.value.0)?;
    }
    writeln!(out, "{}", shown(&item.key))
}

/// A key that would not stay on its line, or looks like one of those, is shown as a JSON string.
fn shown(key: &str) -> Cow<'_, str> {
    if !key.starts_with('"') && !key.contains(char::is_control) {
        return Cow::Borrowed(key);
    }
    // JSON leaves the control characters above ASCII as they are.
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
    fn a_key_is_always_one_line_and_can_be_told_from_any_other() {
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
