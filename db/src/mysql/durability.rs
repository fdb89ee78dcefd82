//! The settings of a server that make its commits durable. All of them must be 1.

use sqlx::{MySqlConnection, Row as _};

use super::error::classify;
use super::text;
use crate::error::Error;

/// The settings, in the order of [`text::DURABILITY`], and how to set each one to 1.
const SETTINGS: [(&str, &str); 4] = [
    ("log_bin", "start the server with --log-bin"),
    ("sync_binlog", "run `set global sync_binlog = 1`, and put it into the configuration of the server"),
    (
        "innodb_flush_log_at_trx_commit",
        "run `set global innodb_flush_log_at_trx_commit = 1`, and put it into the configuration of the server",
    ),
    ("sql_log_bin", "remove it from init_connect"),
];

/// Why the server is refused: each wrong setting, its value and how to correct it.
pub(super) async fn reason(connection: &mut MySqlConnection) -> Result<String, Error> {
    let row = sqlx::query(text::DURABILITY).fetch_one(connection).await.map_err(classify)?;
    let mut values = [0; SETTINGS.len()];
    for (at, value) in values.iter_mut().enumerate() {
        *value = row.try_get_unchecked(at).map_err(classify)?;
    }
    Ok(describe(values))
}

fn describe(values: [i64; SETTINGS.len()]) -> String {
    let wrong = SETTINGS.iter().zip(values).filter(|(_, value)| *value != 1);
    let wrong: Vec<String> =
        wrong.map(|((name, remedy), value)| format!("{name} is {value} and must be 1: {remedy}")).collect();
    if wrong.is_empty() {
        // Somebody corrected the settings after the check found them wrong.
        return "it may have lost acknowledged writes: its settings were not durable until now".to_owned();
    }
    format!("it may lose acknowledged writes: {}", wrong.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_that_are_wrong_are_named_with_their_values() {
        let reason = describe([1, 0, 2, 1]);
        for part in [
            "sync_binlog is 0 and must be 1",
            "innodb_flush_log_at_trx_commit is 2 and must be 1",
            "set global",
        ] {
            assert!(reason.contains(part), "{reason}");
        }
        assert!(!reason.contains("log_bin is 1") && !reason.contains("--log-bin"), "{reason}");
        assert!(
            describe([0, 1, 1, 1]).contains("log_bin is 0 and must be 1: start the server with --log-bin")
        );
        assert!(describe([1; 4]).contains("until now"));
    }
}
