//! Finds escapes in a JSON text that are not a character.

/// Whether a string in `json` has one half of a surrogate pair without the other half. `json` must be well-formed otherwise.
pub(super) fn lone_surrogate(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at..];
        // An escape is a backslash and one character, or `\u` and four digits.
        let Some(unit) = unit(rest) else {
            rest = &rest[2..];
            continue;
        };
        rest = &rest[6..];
        match unit {
            0xd800..=0xdbff if unit_is_low(rest) => rest = &rest[6..],
            0xd800..=0xdfff => return true,
            _ => {}
        }
    }
    false
}

/// The UTF-16 code unit of the `\u` escape that `json` begins with, if it begins with one.
fn unit(json: &str) -> Option<u16> {
    let digits = json.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

fn unit_is_low(json: &str) -> bool {
    unit(json).is_some_and(|unit| (0xdc00..=0xdfff).contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::lone_surrogate;

    #[test]
    fn pairs_are_text_and_halves_are_not() {
        let text =
            [r#""a""#, r#""\ud83d\ude00""#, r#""\\ud800""#, r#"[1e999,"\uD83D\uDE00\n"]"#, r#""\u00e9""#];
        assert!(!text.into_iter().any(lone_surrogate));
        let halves = [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800x""#,
            r#""\ud800\u0041""#,
            r#""\\\uDFFF""#,
            r#""\ud800\ud800\udc00""#,
        ];
        assert!(halves.into_iter().all(lone_surrogate));
    }
}
