//! The metrics of the write side.

use std::sync::Arc;

use db::{BatchReport, Round, SweepReport, Writer};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use crate::socket::budget::MessageBudgets;

/// The instruments of the write side.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Open sockets.
    pub(crate) sockets: UpDownCounter<i64>,
    messages: Counter<u64>,
    batch_size: Histogram<u64>,
    commit_time: Histogram<f64>,
    attempts: Counter<u64>,
    sweeps: Counter<u64>,
    swept: Counter<u64>,
    changes: Counter<u64>,
    expired: Counter<u64>,
    changes_removed: Counter<u64>,
    changes_bytes: Gauge<u64>,
    system: &'static str,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, system: &'static str) -> Self {
        Self {
            sockets: meter.i64_up_down_counter("keywire.sockets").with_description("Open sockets.").build(),
            messages: meter
                .u64_counter("keywire.messages")
                .with_description(
                    "Messages whose reply is known, by outcome: committed, not_found, or the code of the refusal.",
                )
                .build(),
            batch_size: meter
                .u64_histogram("db.client.operation.batch.size")
                .with_description("Writes per transaction.")
                .with_unit("{write}")
                .with_boundaries((0..=12).map(|power| f64::from(1 << power)).collect())
                .build(),
            commit_time: meter
                .f64_histogram("db.client.operation.duration")
                .with_description("Time from taking a batch out of its queue to the outcome of its last write.")
                .with_unit("s")
                .with_boundaries(vec![
                    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ])
                .build(),
            attempts: meter
                .u64_counter("keywire.commit.attempts")
                .with_description("Attempts to commit a transaction. More attempts than transactions means retries.")
                .build(),
            sweeps: meter
                .u64_counter("keywire.sweeps")
                .with_description(
                    "Rounds of the sweeper, by outcome: swept, failed, or elsewhere if another process sweeps.",
                )
                .build(),
            swept: meter
                .u64_counter("keywire.swept")
                .with_description("Entries removed by the sweeper.")
                .build(),
            changes: meter
                .u64_counter("keywire.changes")
                .with_description("Keys that committed transactions added to the log of changes.")
                .with_unit("{key}")
                .build(),
            expired: meter
                .u64_counter("keywire.changes.expired")
                .with_description("Keys that the sweeper added to the log of changes because their entries expired.")
                .with_unit("{key}")
                .build(),
            changes_removed: meter
                .u64_counter("keywire.changes.removed")
                .with_description("Rows that the sweeper removed from the log of changes.")
                .with_unit("{row}")
                .build(),
            changes_bytes: meter
                .u64_gauge("keywire.changes.size")
                .with_description("About the size of the log of changes, by the last count of the process that sweeps.")
                .with_unit("By")
                .build(),
            system,
        }
    }

    /// Counts what the sweeper has done.
    pub(crate) fn sweep(&self, report: SweepReport) {
        match report {
            SweepReport::Round(round) => self.sweep_round(round),
            SweepReport::Expired(keys) => self.expired.add(keys, &[]),
            SweepReport::LogCut(rows) => self.changes_removed.add(rows, &[]),
            SweepReport::LogBytes(bytes) => self.changes_bytes.record(bytes, &[]),
        }
    }

    fn sweep_round(&self, round: Round) {
        let (outcome, removed) = match round {
            Round::Swept(removed) => ("swept", removed),
            Round::Elsewhere => ("elsewhere", 0),
            Round::Failed => ("failed", 0),
        };
        self.sweeps.add(1, &[KeyValue::new("outcome", outcome)]);
        self.swept.add(removed, &[]);
    }

    /// Counts `count` messages whose replies have this outcome.
    pub(crate) fn replied(&self, outcome: &'static str, count: u64) {
        self.messages.add(count, &[KeyValue::new("outcome", outcome)]);
    }

    /// Records a batch.
    pub(crate) fn batch(&self, report: BatchReport) {
        let labels = [
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.operation.name", "commit"),
            KeyValue::new("outcome", if report.refused == 0 { "committed" } else { "refused" }),
        ];
        self.batch_size.record((report.committed + report.refused) as u64, &labels[..2]);
        self.commit_time.record(report.elapsed.as_secs_f64(), &labels);
        self.attempts.add(u64::from(report.attempts), &[]);
        self.changes.add(report.logged as u64, &[]);
    }
}

/// Registers the gauges of the queue and of `message_budgets`. They are read whenever the metrics are read.
pub(crate) fn register_gauges(meter: &Meter, writer: &Writer, message_budgets: &Arc<MessageBudgets>) {
    let budgets = Arc::clone(message_budgets);
    meter
        .u64_observable_gauge("keywire.inbound")
        .with_description(
            "Memory reserved for messages over 16 KiB that are being received or wait for their queue.",
        )
        .with_unit("By")
        .with_callback(move |observer| observer.observe(budgets.bytes() as u64, &[]))
        .build();
    let lanes = writer.health();
    meter
        .u64_observable_gauge("keywire.queue.depth")
        .with_description("Writes that wait for a transaction.")
        .with_callback(move |observer| observer.observe(lanes.depth() as u64, &[]))
        .build();
}
