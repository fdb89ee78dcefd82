//! `keywire ls`: lists keys in byte order, one per line.

use std::borrow::Cow;
use std::io::{BufWriter, Write};

use crate::cli::client::{Failure, ReadTargetArgs, printed};
use crate::cli::listing::{ListedKey, Listing, PrefixArgs, Size};

/// Options of `ls`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    prefix: PrefixArgs,

    /// Show the rev, and the size of the value in bytes, before each key
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    target: ReadTargetArgs,
}

/// Prints the keys, page by page.
pub(crate) async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let target = args.target.read_target();
    let mut listing = if args.long {
        Listing::with_sizes(target, args.prefix.prefix())
    } else {
        Listing::of_keys(target, args.prefix.prefix())
    };
    while let Some(keys) = listing.next().await? {
        for key in &keys {
            printed(print(&mut out, key))?;
        }
        printed(out.flush())?;
    }
    Ok(())
}

fn print(out: &mut impl Write, listed: &ListedKey) -> std::io::Result<()> {
    if let Some(Size(bytes)) = listed.value {
        write!(out, "{:>16} {bytes:>7} ", listed.rev)?;
    }
    writeln!(out, "{}", shown(&listed.key))
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
}
