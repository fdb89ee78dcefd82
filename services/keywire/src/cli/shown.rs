//! Shows keys and values to a person, each on one line.

use std::borrow::Cow;

/// `text` as one line. A text with characters that are not seen is shown as a JSON string, and so is one that begins with a quote:
/// otherwise it could be taken for a JSON string.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.starts_with('"') && !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    // JSON escapes only the control characters of ASCII.
    let json = serde_json::Value::from(text).to_string();
    let chars = json.chars().map(|char| match char {
        char if is_unseen(char) => format!("\\u{:04x}", u32::from(char)),
        char => char.into(),
    });
    Cow::Owned(chars.collect())
}

/// Whether `char` is not seen, but ends a line, changes the order in which a terminal shows the text, or makes two texts look alike. Joiners,
/// variation selectors and tags are left alone: some scripts and emoji need them.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}'
        )
        || matches!(char, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_line_of_its_own() {
        let keys = [
            "a b",
            "a\nb",
            "\"a\\nb\"",
            "\u{1b}[2J",
            "é \u{1f600}",
            "\u{85}",
            "a\u{202e}b",
            "\u{2066}\u{2028}\u{feff}",
            "soft\u{ad}hyphen",
            "\u{2764}\u{fe0f}",
        ];
        let lines = keys.map(|key| shown(key).into_owned());
        assert_eq!(lines[0], "a b");
        assert_eq!(lines[1], r#""a\nb""#);
        assert_eq!(lines[2], r#""\"a\\nb\"""#);
        assert_eq!(lines[3], r#""\u001b[2J""#);
        assert_eq!(lines[4], "é \u{1f600}");
        assert_eq!(lines[5], r#""\u0085""#);
        assert_eq!(lines[6], r#""a\u202eb""#);
        assert_eq!(lines[7], r#""\u2066\u2028\ufeff""#);
        assert_eq!(lines[8], r#""soft\u00adhyphen""#);
        assert_eq!(lines[9], "\u{2764}\u{fe0f}");
    }
}
