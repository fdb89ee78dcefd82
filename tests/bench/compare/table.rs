//! The table of a comparison, and the verdict whether the new build is slower.

use std::fmt;

use crate::spread::Spread;

/// A median ratio of rates, new over old, below this is slower.
const RATE_MIN: f64 = 0.97;

/// A ratio of instructions, new over old, above this is slower.
const INSTRUCTIONS_MAX: f64 = 1.01;

/// The unit of a figure. It determines whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations per second.
    PerSecond,
    /// Instructions of an operation.
    Instructions,
}

/// One figure of both builds.
#[derive(Debug, Clone)]
pub(crate) struct Compared {
    name: String,
    unit: Unit,
    /// The values of the old and of the new build, pair after pair.
    values: Vec<[f64; 2]>,
}

impl Compared {
    pub(crate) fn new(name: String, unit: Unit) -> Self {
        Self { name, unit, values: Vec::new() }
    }

    /// Adds a pair and prints it, since a whole run takes many minutes.
    pub(crate) fn add(&mut self, pair: [f64; 2]) {
        self.values.push(pair);
        let [old, new] = pair.map(|value| self.amount(value));
        println!("pair {:>2}: {old:>9} {new:>9}  x {:.3}  {}", self.values.len(), ratio(pair), self.name);
    }

    /// The median of each build.
    fn medians(&self) -> [f64; 2] {
        [0, 1].map(|build| Spread::of(&self.values.iter().map(|pair| pair[build]).collect::<Vec<_>>()).median)
    }

    /// The ratios of the pairs.
    fn ratios(&self) -> Spread {
        Spread::of(&self.values.iter().copied().map(ratio).collect::<Vec<_>>())
    }

    /// The ratio that decides. On a noisy machine both loads of a pair run in the same minute, so rates are compared pair by pair.
    /// Instructions do not depend on the time.
    fn ratio(&self) -> f64 {
        match self.unit {
            Unit::PerSecond => self.ratios().median,
            Unit::Instructions => ratio(self.medians()),
        }
    }

    fn is_slower(&self) -> bool {
        match self.unit {
            Unit::PerSecond => self.ratio() < RATE_MIN,
            Unit::Instructions => self.ratio() > INSTRUCTIONS_MAX,
        }
    }

    fn amount(&self, value: f64) -> String {
        match self.unit {
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Instructions => format!("{value:.0}"),
        }
    }
}

/// New over old.
fn ratio([old, new]: [f64; 2]) -> f64 {
    new / old
}

/// All figures, and those that could not be measured.
#[derive(Debug)]
pub(crate) struct Table {
    /// The names of the revisions, the old one first.
    pub(crate) revisions: [String; 2],
    /// Whether both revisions have the same files.
    pub(crate) same: bool,
    pub(crate) figures: Vec<Compared>,
    /// The figures that could not be measured, with the reasons.
    pub(crate) missing: Vec<String>,
}

impl Table {
    pub(crate) fn is_slower(&self) -> bool {
        self.figures.iter().any(Compared::is_slower)
    }

    /// The verdict in one line.
    fn verdict(&self) -> String {
        let slower: Vec<&str> =
            self.figures.iter().filter(|figure| figure.is_slower()).map(|figure| &*figure.name).collect();
        let all = self.figures.len();
        let judged = if slower.is_empty() {
            format!("NEW is no slower than OLD in {all} of {all} figures.")
        } else {
            format!("NEW is slower than OLD in {} of {all} figures: {}.", slower.len(), slower.join("; "))
        };
        let limits = format!(
            "Slower is a median ratio of rates below {RATE_MIN}, or more than {INSTRUCTIONS_MAX} times the instructions."
        );
        let same = if self.same { " Both have the same files: only chance makes a difference." } else { "" };
        let missing = match self.missing.join("; ") {
            none if none.is_empty() => none,
            reasons => format!(" Not measured: {reasons}."),
        };
        format!("{judged} {limits}{same}{missing}")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [old, new] = &self.revisions;
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
        writeln!(f, "OLD: {old}\nNEW: {new}\n")?;
        writeln!(f, "{:width$}       OLD       NEW  NEW/OLD  quartiles       min and max", "median")?;
        for figure in &self.figures {
            let [old, new] = figure.medians().map(|value| figure.amount(value));
            let Spread { low, quarter, three_quarters, high, .. } = figure.ratios();
            write!(f, "{:width$} {old:>9} {new:>9}    {:.3}", figure.name, figure.ratio())?;
            write!(f, "  {quarter:.3} to {three_quarters:.3}  {low:.3} to {high:.3}")?;
            writeln!(f, "{}", if figure.is_slower() { "  slower" } else { "" })?;
        }
        write!(f, "\n{}", self.verdict())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(unit: Unit, values: &[[f64; 2]]) -> Compared {
        Compared { name: "gets".into(), unit, values: values.to_vec() }
    }

    fn table(figures: Vec<Compared>) -> Table {
        let missing = vec!["MySQL (there is none)".into()];
        Table { revisions: ["a", "b"].map(str::to_owned), same: false, figures, missing }
    }

    #[test]
    fn a_rate_is_judged_by_the_median_of_the_ratios_of_its_pairs() {
        // The machine became three times as fast during the run.
        let values = [[100.0, 96.0], [300.0, 288.0], [100.0, 300.0]];
        assert!(figure(Unit::PerSecond, &values).is_slower());
        assert!(!figure(Unit::PerSecond, &[[100.0, 97.0]]).is_slower());
    }

    #[test]
    fn more_instructions_are_slower() {
        assert!(figure(Unit::Instructions, &[[1000.0, 1011.0]]).is_slower());
        assert!(!figure(Unit::Instructions, &[[1000.0, 1010.0]]).is_slower());
        assert!(!figure(Unit::Instructions, &[[1000.0, 500.0]]).is_slower());
    }

    #[test]
    fn the_last_line_says_what_is_slower_and_what_is_missing() {
        let slower = table(vec![figure(Unit::PerSecond, &[[100.0, 90.0]])]);
        assert!(slower.is_slower());
        assert!(slower.to_string().contains("    0.900  0.900 to 0.900  0.900 to 0.900  slower\n"));
        let text = slower.to_string();
        let last = text.lines().last().expect("it has lines");
        assert!(last.starts_with("NEW is slower than OLD in 1 of 1 figures: gets. Slower is "), "{last}");
        assert!(last.ends_with(" Not measured: MySQL (there is none)."), "{last}");
        assert!(table(Vec::new()).verdict().starts_with("NEW is no slower than OLD in 0 of 0 figures"));
    }
}
