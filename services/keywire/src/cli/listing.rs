//! The keys of a server in byte order, page by page.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::cli::client::{Failure, Target, encoded, fetch};

/// The prefix of a command that lists keys: as an argument, or as an option like in other commands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PrefixArgs {
    /// Prefix of the keys; default: all keys
    prefix: Option<String>,

    /// The same as PREFIX
    #[arg(long = "prefix", value_name = "PREFIX", conflicts_with = "prefix")]
    named_prefix: Option<String>,
}

impl PrefixArgs {
    /// The prefix. It is empty for all keys.
    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().or(self.named_prefix.as_deref()).unwrap_or_default()
    }
}

/// Reads the keys with a prefix, page by page.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    target: Target<'a>,
    prefix: &'a str,
    /// Whether values are read, to find their sizes.
    with_sizes: bool,
    next_page: NextPage,
}

/// Where the next page begins.
#[derive(Debug)]
enum NextPage {
    Start,
    /// After this cursor.
    After(String),
    /// There is no next page.
    End,
}

/// A key of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct ListedKey {
    pub(crate) key: String,
    pub(crate) rev: u64,
    /// The size of its value, if sizes are read.
    #[serde(default)]
    pub(crate) value: Option<Size>,
}

/// The length in bytes of a string. The string itself is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) usize);

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    items: Vec<ListedKey>,
    /// The cursor of the next page; `None` on the last page.
    next: Option<String>,
}

impl<'a> Listing<'a> {
    /// Reads keys and their revs, without values.
    pub(crate) fn of_keys(target: Target<'a>, prefix: &'a str) -> Self {
        Self { target, prefix, with_sizes: false, next_page: NextPage::Start }
    }

    /// Reads keys, their revs and the sizes of their values.
    pub(crate) fn with_sizes(target: Target<'a>, prefix: &'a str) -> Self {
        Self { with_sizes: true, ..Self::of_keys(target, prefix) }
    }

    /// The keys of the next page, maybe none; `None` at the end. After a failure the same page can be asked for again.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ListedKey>>, Failure> {
        let mut path = "/storage?limit=1000".to_owned();
        if !self.with_sizes {
            path.push_str("&values=false");
        }
        if !self.prefix.is_empty() {
            path.extend(["&prefix="].into_iter().chain(encoded(self.prefix)));
        }
        match &self.next_page {
            NextPage::Start => {}
            NextPage::After(cursor) => path.extend(["&after="].into_iter().chain(encoded(cursor))),
            NextPage::End => return Ok(None),
        }
        let page: Page = fetch(self.target, &path).await?.json().await?;
        self.next_page = page.next.map_or(NextPage::End, NextPage::After);
        Ok(Some(page.items))
    }
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
    fn a_page_keeps_the_size_of_its_values() {
        let page = r#"{"items":[{"key":"k","value":"a\né","rev":7},{"key":"l","rev":8}],"next":null,"message":"","status":200}"#;
        let page: Page = serde_json::from_str(page).expect("a page");
        let sizes: Vec<_> = page.items.iter().map(|item| item.value.map(|Size(bytes)| bytes)).collect();
        assert_eq!((sizes, page.items[1].rev, page.next), (vec![Some(4), None], 8, None));
    }
}
