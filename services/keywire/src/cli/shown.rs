//! Shows keys and values to a person, each on one line.

use std::borrow::Cow;

/// `text` as one line. A text with control characters is shown as a JSON string, and so is one that begins with a quote: otherwise it
/// could be taken for a JSON string.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.starts_with('"') && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    // JSON does not escape the control characters above ASCII.
    let json = serde_json::Value::from(text).to_string();
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
    fn every_text_has_one_line_of_its_own() {
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
