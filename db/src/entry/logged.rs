//! Keys in log lines.

use super::Key;

/// The most characters of a key in a log line.
const CHARS_MAX: usize = 64;

impl Key {
    /// The key for a log line: in quotes, escaped, and cut.
    pub(crate) fn for_log(&self) -> String {
        let is_cut = self.as_str().chars().nth(CHARS_MAX).is_some();
        let shown: String = self.as_str().chars().take(CHARS_MAX).collect();
        format!("\"{}\"{}", shown.escape_debug(), if is_cut { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_log_is_escaped_and_cut() {
        let logged = |text: &str| Key::new(text.to_owned(), 512).expect("a short key").for_log();
        assert_eq!(logged("a\n\u{1b}\""), r#""a\n\u{1b}\"""#);
        assert_eq!(logged(&"k".repeat(65)), format!("\"{}\"...", "k".repeat(64)));
        assert_eq!(logged(&"k".repeat(64)), format!("\"{}\"", "k".repeat(64)));
    }
}
