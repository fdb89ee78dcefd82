//! The report: one page of Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::BenchPlan;
use crate::curves::Curve;
use crate::facts::Fact;
use crate::figures::{Figure, Ratio, ratios};
use crate::spread::Spread;

/// The page. Figures that could not be measured are left out.
pub(crate) fn markdown(
    plan: &BenchPlan,
    figures: &[Figure],
    facts: &[Fact],
    curves: &[Curve],
    took: Duration,
) -> String {
    let mut page = String::from("# Measured\n\n");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let _ = write!(
        page,
        "`tests/bench/run{}`: {} rounds of {} s in turn, medians; 100 000 keys chosen uniformly, values of 100 bytes unless said \
         otherwise. {cores} cores for clients, services and databases together; every database durable (binlog and redo log synced \
         at each commit) and asked over loopback TCP without TLS. Took {} min.\n\n",
        if plan.quick { " --quick" } else { "" },
        plan.rounds,
        plan.span.as_secs(),
        took.as_secs().div_ceil(60),
    );
    page.push_str("| ratio of medians | measured | must | aim |\n| --- | --- | --- | --- |\n");
    for ratio in ratios() {
        if let Some(line) = line(&ratio, figures) {
            page.push_str(&line);
        }
    }
    for Fact { name, value, must, aim } in facts {
        let _ = writeln!(page, "| {name} | {value} | {must} | {aim} |");
    }
    page.push_str("\n| per second | median | smallest | largest |\n| --- | --- | --- | --- |\n");
    for figure in figures {
        let Spread { median, low, high, .. } = figure.spread();
        let _ = writeln!(page, "| {} | {median:.0} | {low:.0} | {high:.0} |", figure.name);
    }
    for curve in curves {
        let _ = write!(page, "\n![{}]({}.svg)\n", curve.title, curve.name);
    }
    page
}

fn line(ratio: &Ratio, figures: &[Figure]) -> Option<String> {
    let find = |name: String| figures.iter().find(|figure| figure.name == name);
    let (ours, other) = (find(ratio.ours.to_string())?, find(ratio.other.to_string())?);
    let value = ours.median() / other.median();
    let mark = if value < ratio.must { " (missed)" } else { "" };
    let aim = ratio.aim.map_or_else(String::new, |aim| aim.to_string());
    Some(format!("| {} / {} | {value:.2}{mark} | {} | {aim} |\n", ours.name, other.name, ratio.must))
}
