//! The command line.

use e2e::EngineKind;

use crate::figures::name;
use crate::ours::BenchLoad;

/// What to compare, how often and how long.
#[derive(Debug, Clone)]
pub(crate) struct ComparePlan {
    /// The two revisions as given, the old one first.
    pub(crate) revisions: [String; 2],
    /// How often each figure of each engine is measured on both builds.
    pub(crate) pairs: usize,
    /// The duration of each load.
    pub(crate) seconds: f64,
    /// The configuration of the services of both builds, while rates are measured.
    settings: Vec<(String, String)>,
    /// Measure only figures with this in their names.
    only: Option<String>,
}

impl ComparePlan {
    /// # Errors
    /// What is wrong with `args`.
    pub(crate) fn read(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut revisions, mut pairs, mut seconds, mut only) = (Vec::new(), 15, 1.0, None);
        let mut settings = Vec::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--pairs" => pairs = value()?.parse().map_err(|error| format!("--pairs: {error}"))?,
                "--seconds" => seconds = value()?.parse().map_err(|error| format!("--seconds: {error}"))?,
                "--setting" => {
                    let setting = value()?;
                    let (name, value) =
                        setting.split_once('=').ok_or_else(|| format!("--setting: {setting} has no ="))?;
                    settings.push((name.to_owned(), value.to_owned()));
                }
                "--only" => only = Some(value()?),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ => revisions.push(arg),
            }
        }
        if pairs == 0 {
            return Err("--pairs: 1 at least".into());
        }
        if !(0.1..=60.0).contains(&seconds) {
            return Err("--seconds: 0.1 to 60".into());
        }
        let revisions = revisions.try_into().map_err(|given: Vec<_>| {
            format!("it compares two revisions, OLD and NEW; {} given", given.len())
        })?;
        Ok(Self { revisions, pairs, seconds, settings, only })
    }

    /// The names and values of the settings.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    /// Whether the figure `name` is requested. Case does not matter.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let word = self.only.as_ref().map(|word| word.to_lowercase());
        word.is_none_or(|word| name.to_lowercase().contains(&word))
    }

    /// The requested loads among `loads` on `engine`, with the names of their figures.
    pub(crate) fn wanted(&self, engine: EngineKind, loads: &[BenchLoad]) -> Vec<(String, BenchLoad)> {
        let named = loads.iter().map(|load| (format!("{}: {load}", name(engine)), *load));
        named.filter(|(name, _)| self.wants(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<ComparePlan, String> {
        ComparePlan::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_stand_anywhere() {
        let plan =
            read("--pairs 3 main --only mariadb --setting A=b=c . --seconds 0.5").expect("it is a plan");
        assert_eq!(plan.revisions, ["main", "."]);
        assert_eq!((plan.pairs, plan.seconds), (3, 0.5));
        assert_eq!(plan.settings(), [("A", "b=c")]);
        assert!(plan.wants("MariaDB: gets, 64 connections"));
        assert!(!plan.wants("SQLite: gets, 64 connections"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for line in [
            "",
            "main",
            "a b c",
            "a b --pairs",
            "a b --pairs 0",
            "a b --seconds 90",
            "a b --fast",
            "a b --setting A",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
