//! `If-None-Match`: whether the client has the current version already.

use poem::http::{HeaderMap, header};

/// Whether any `If-None-Match` field of `headers` names `tag`.
pub(crate) fn is_named(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|field| names(field.as_bytes(), tag))
}

/// Whether a field of `If-None-Match` is `*` or names `tag`, which is given without its quotes. Compares weakly, as the header
/// demands. Everything after a malformed part is ignored.
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
