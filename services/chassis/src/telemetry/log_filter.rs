//! Parses `LOG`, the filter of log lines.
//!
//! `tracing_subscriber` accepts any word as a target. With `LOG=warning` it would look for a target `warning`, which no code has, and
//! log nothing, not even errors. So this module checks each word first.

use std::collections::HashSet;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The level of all code that the filter does not name.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// The crates that log: ours, and the libraries. A target is one of them, or a module in it.
const CRATES: [&str; 7] = ["chassis", "db", "keywire", "rest_read", "ws_ingest", "poem", "sqlx"];

/// How a filter is written.
const FORM: &str = "write off, error, warn, info, debug or trace, and target=level pairs after it, as in info,db=debug; targets are \
    chassis, db, keywire, rest_read, ws_ingest, poem, sqlx and their modules";

/// A filter of log lines. It names only levels and targets that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// The level of all code that has no level of its own.
    level: LevelFilter,
    /// Targets and their levels.
    targets: Vec<(String, LevelFilter)>,
}

/// Why a text is not a filter of log lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLogFilter {
    /// The word must be a level, and is not.
    #[error("{0:?} is not a level: {FORM}")]
    Level(String),
    /// No code has this target.
    #[error("{0:?} is not a target: {FORM}")]
    Target(String),
    /// The same target has two levels, or the filter has two levels without a target.
    #[error("{0:?} gives a second level to the same code: {FORM}")]
    Twice(String),
    /// The text has no word.
    #[error("it is empty: {FORM}")]
    Empty,
}

impl LogFilter {
    /// The filter in the form that the log subscriber takes.
    pub(crate) fn env_filter(&self) -> EnvFilter {
        let all = EnvFilter::builder().with_default_directive(self.level.into()).parse_lossy("");
        self.targets.iter().fold(all, |filter, (target, level)| {
            let directive = format!("{target}={level}").parse();
            filter.add_directive(directive.expect("the target and the level were checked"))
        })
    }
}

impl FromStr for LogFilter {
    type Err = BadLogFilter;

    fn from_str(text: &str) -> Result<Self, BadLogFilter> {
        let words = || text.split(',').map(str::trim).filter(|word| !word.is_empty());
        if words().next().is_none() {
            return Err(BadLogFilter::Empty);
        }
        let (mut level, mut targets, mut named) = (DEFAULT_LEVEL, Vec::new(), HashSet::new());
        for word in words() {
            let (target, own_level) = match word.split_once('=') {
                None => (None, parse_level(word)?),
                Some((target, own_level)) => {
                    let target = target.trim();
                    if !is_target(target) {
                        return Err(BadLogFilter::Target(target.to_owned()));
                    }
                    (Some(target), parse_level(own_level.trim())?)
                }
            };
            if !named.insert(target) {
                return Err(BadLogFilter::Twice(word.to_owned()));
            }
            match target {
                None => level = own_level,
                Some(target) => targets.push((target.to_owned(), own_level)),
            }
        }
        Ok(Self { level, targets })
    }
}

fn parse_level(word: &str) -> Result<LevelFilter, BadLogFilter> {
    let bad = || BadLogFilter::Level(word.to_owned());
    // The library also accepts an empty word and numbers. Both are probably mistakes.
    let is_name = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_name { word.parse().map_err(|_| bad()) } else { Err(bad()) }
}

fn is_target(text: &str) -> bool {
    let mut modules = text.split("::");
    let is_crate = modules.next().is_some_and(|first| CRATES.contains(&first));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    is_crate && modules.all(is_name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics in it").extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Which of some lines the filter lets through.
    fn shown(filter: &str) -> Vec<&'static str> {
        let filter: LogFilter = filter.parse().expect("a valid filter");
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter.env_filter()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "chassis::edge", "an error of chassis");
            tracing::info!(target: "chassis::edge", "a note of chassis");
            tracing::info!(target: "db::lane", "a note of db");
            tracing::debug!(target: "db::lane", "a detail of db");
            tracing::error!(target: "library", "an error of a library");
        });
        let written = String::from_utf8(lines.0.lock().expect("no test panics in it").clone());
        let written = written.expect("lines are text");
        let all = [
            "an error of chassis",
            "a note of chassis",
            "a note of db",
            "a detail of db",
            "an error of a library",
        ];
        all.into_iter().filter(|line| written.contains(line)).collect()
    }

    #[test]
    fn a_filter_of_levels_and_targets_is_applied() {
        assert_eq!(shown("warn"), ["an error of chassis", "an error of a library"]);
        assert_eq!(
            shown(" WARN, db=info,"),
            ["an error of chassis", "a note of db", "an error of a library"]
        );
        assert_eq!(shown("warn,db::lane=debug").len(), 4);
        assert_eq!(shown("trace").len(), 5);
        assert!(shown("off").is_empty());
    }

    #[test]
    fn code_without_a_level_keeps_the_usual_one() {
        assert_eq!(shown("db=debug").len(), 5);
        assert_eq!(shown("db=off").len(), 3);
    }

    #[test]
    fn a_word_that_is_no_level_or_target_is_refused_and_the_words_that_are_allowed_are_named() {
        for (text, what) in [
            ("warning", "\"warning\" is not a level"),
            ("verbose", "is not a level"),
            ("3", "is not a level"),
            ("db", "is not a level"),
            ("info,warning", "\"warning\" is not a level"),
            ("db=loud", "\"loud\" is not a level"),
            ("db=", "\"\" is not a level"),
            ("ws-ingest=debug", "\"ws-ingest\" is not a target"),
            ("database=debug", "is not a target"),
            ("d=debug", "is not a target"),
            ("db::=debug", "is not a target"),
            ("db[span]=debug", "is not a target"),
            ("=info", "\"\" is not a target"),
            ("info,debug", "second level"),
            ("db=info,db=debug", "second level"),
            (" , ", "is empty"),
        ] {
            let refusal = text.parse::<LogFilter>().expect_err(text).to_string();
            assert!(refusal.contains(what), "{refusal}");
            for word in ["warn", "debug", "info,db=debug"] {
                assert!(refusal.contains(word), "{refusal}");
            }
        }
    }
}
