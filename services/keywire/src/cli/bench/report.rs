//! The report of a run, as a table and as JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde_json::{Value, json};
use tokio::signal::unix::SignalKind;

use super::args::{BenchArgs, Distribution};
use super::results::Results;

/// The percentiles of the report.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// A finished run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) args: BenchArgs,
    pub(super) results: Results,
    /// From the first operation to the last reply.
    pub(super) elapsed: Duration,
    /// How long it took to open the connections.
    pub(super) connecting: Duration,
    /// Operations that fell due and were never sent. 0 if the run was interrupted.
    pub(super) unsent: u64,
    /// The signal that ended the run early.
    pub(super) interrupted: Option<SignalKind>,
    /// The CPU time of this process during the run, if it is known.
    pub(super) cpu: Option<Duration>,
}

impl Report {
    /// Whether at least one operation succeeded.
    pub(super) fn succeeded(&self) -> bool {
        self.results.writes.len() + self.results.reads.len() > 0
    }

    /// The report as JSON. Latencies are in microseconds.
    pub(super) fn json(&self) -> Value {
        let kind = |latencies: &Histogram<u64>| {
            let at = |percent| micros(latencies.value_at_percentile(percent));
            let mut all = json!({ "count": latencies.len(), "per_second": self.rate(latencies) });
            for (name, percent) in PERCENTILES {
                all[format!("{}_us", name.replace('.', "_"))] = json!(at(percent));
            }
            all
        };
        json!({
            "url": self.args.targets.read_target().url.as_str(),
            "write_url": self.args.targets.write_target().url.as_str(),
            "clients": self.args.clients,
            "pipeline": self.args.pipeline,
            "reads_percent": self.args.reads,
            "keys": self.args.keys,
            "distribution": distribution(self.args.distribution),
            "value_bytes": self.args.value_bytes,
            "rate": self.args.rate,
            "seconds": self.elapsed.as_secs_f64(),
            "connect_seconds": self.connecting.as_secs_f64(),
            "writes": kind(&self.results.writes),
            "reads": kind(&self.results.reads),
            "missing": self.results.missing,
            "refused": self.results.refused,
            "unsent": self.unsent,
            "interrupted": self.interrupted.is_some(),
            "generator_cores": self.cores(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    fn rate(&self, latencies: &Histogram<u64>) -> f64 {
        latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn cores(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, name: &str, latencies: &Histogram<u64>) -> fmt::Result {
        if latencies.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "  {name:<6} {:>10} {:>12}",
            grouped(self.rate(latencies)),
            HumanCount(latencies.len()).to_string()
        )?;
        for (_, percent) in PERCENTILES {
            write!(f, " {:>8}", time(latencies.value_at_percentile(percent)))?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = &self.args;
        let pace = args.rate.map_or("as fast as replies come".into(), |rate| {
            format!("{} due each second", HumanCount(rate.get()))
        });
        writeln!(f, "\n  {}", args.targets.read_target().url)?;
        writeln!(f, "  {} clients, {} in flight each · {pace}", args.clients, args.pipeline)?;
        writeln!(
            f,
            "  {} keys, {} · values of {} bytes · {} % reads · {:.1} s\n",
            HumanCount(args.keys.get()),
            distribution(args.distribution),
            HumanCount(args.value_bytes.into()),
            args.reads,
            self.elapsed.as_secs_f64()
        )?;
        write!(f, "  {:<6} {:>10} {:>12}", "", "per second", "count")?;
        for (name, _) in PERCENTILES {
            write!(f, " {name:>8}")?;
        }
        writeln!(f)?;
        self.row(f, "writes", &self.results.writes)?;
        self.row(f, "reads", &self.results.reads)?;
        writeln!(f)?;
        if self.results.missing > 0 {
            writeln!(f, "  {} reads found no key", HumanCount(self.results.missing))?;
        }
        for (code, count) in &self.results.refused {
            writeln!(f, "  {} refused: {code}", HumanCount(*count))?;
        }
        if self.unsent > 0 {
            writeln!(
                f,
                "  {} fell due and were never sent: the replies came too slowly",
                HumanCount(self.unsent)
            )?;
        }
        if self.interrupted.is_some() {
            writeln!(f, "  interrupted: this is what was measured until then")?;
        }
        if let Some(cores) = self.cores() {
            writeln!(f, "  the load generator itself used {cores:.2} cores")?;
        }
        Ok(())
    }
}

/// The rates and latencies so far, in one line.
pub(super) fn so_far(results: &Results, elapsed: Duration) -> String {
    let part = |name: &str, latencies: &Histogram<u64>| {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = latencies.len() as f64 / elapsed.as_secs_f64().max(0.001);
        let p99 = time(latencies.value_at_percentile(99.0));
        if latencies.is_empty() { String::new() } else { format!("{name} {}/s, p99 {p99}  ", grouped(rate)) }
    };
    part("writes", &results.writes) + &part("reads", &results.reads)
}

fn distribution(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Uniform => "uniform",
        Distribution::Zipf => "zipf",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency of years would lose a nanosecond")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// A latency with three significant digits and its unit.
fn time(nanos: u64) -> String {
    let (value, unit) = match micros(nanos) {
        us if us < 1000.0 => (us, "µs"),
        us if us < 1_000_000.0 => (us / 1000.0, "ms"),
        us => (us / 1_000_000.0, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A rate as a whole number with separators.
fn grouped(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and far below 2^64"
    )]
    let whole = rate.round() as u64;
    HumanCount(whole).to_string()
}

/// The CPU time of this process so far. Linux counts it in hundredths of a second.
pub(super) fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain blanks. User and system time are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([0.4, 999.5, 1_234_567.0].map(grouped), ["0", "1,000", "1,234,567"]);
        let times = [900, 12_340, 456_700, 1_234_000, 98_700_000, 2_000_000_000].map(time);
        assert_eq!(times, ["0.90 µs", "12.3 µs", "457 µs", "1.23 ms", "98.7 ms", "2.00 s"]);
    }
}
