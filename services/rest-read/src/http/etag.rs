//! `If-None-Match`: does the client already have the current version?

/// Whether a field of `If-None-Match` names `tag` (without its quotes) or is `*`. Compared weakly, as the
/// header asks for; what comes after a malformed part names nothing.
pub(crate) fn names(field: &[u8], tag: &[u8]) -> bool {
    let mut rest = field.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        // Empty elements of a list are allowed.
        rest = rest.trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        let Some(opaque) = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = opaque.iter().position(|&byte| byte == b'"') else { return false };
        if &opaque[..end] == tag {
            return true;
        }
        rest = opaque[end + 1..].trim_ascii_start();
        if !rest.starts_with(b",") {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_list_names_each_of_its_tags_strong_or_weak() {
        let table: [(&str, bool); 22] = [
            (r#""12""#, true),
            (r#"  "12"	"#, true),
            (r#"W/"12""#, true),
            ("*", true),
            (" * ", true),
            (r#""1", "12""#, true),
            (r#""1","12""#, true),
            (r#"W/"1" , W/"12", "3""#, true),
            (r#",, "1",	, "12" ,"#, true),
            (r#""a,b", "12""#, true),
            (r#""", "12""#, true),
            ("", false),
            (",", false),
            (r#""1""#, false),
            (r#""123""#, false),
            (r#"" 12""#, false),
            ("12", false),
            (r#"w/"12""#, false),
            (r#""12"#, false),
            (r#""1" "12""#, false),
            (r#"1, "12""#, false),
            (r#"*, "12""#, false),
        ];
        for (field, expected) in table {
            assert_eq!(names(field.as_bytes(), b"12"), expected, "{field}");
        }
    }
}
