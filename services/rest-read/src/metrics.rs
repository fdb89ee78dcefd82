//! The metrics of `rest-read`, each declared once.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::noop::NoopMeterProvider;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};

use crate::health::Health;
use crate::watch::{ResetReason, Watches};

/// Boundaries of the histograms of rounds, in seconds.
const WATCH_SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The instruments of the SELECTs and of the watches.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    batch_size: Histogram<u64>,
    duration: Histogram<f64>,
    rounds: Histogram<f64>,
    lag: Histogram<f64>,
    changes: Counter<u64>,
    events: Counter<u64>,
    resets: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            batch_size: meter
                .u64_histogram("db.client.operation.batch.size")
                .with_description("Gets per SELECT. 0 is a check of the connection.")
                .with_unit("{get}")
                .with_boundaries(vec![0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
                .build(),
            duration: meter
                .f64_histogram("db.client.operation.duration")
                .with_description(
                    "Time from sending a SELECT to its last row. `scan`: of a list or an export.",
                )
                .with_unit("s")
                .with_boundaries(vec![
                    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
                    2.5, 5.0,
                ])
                .build(),
            rounds: meter
                .f64_histogram("keywire.watch.round.duration")
                .with_description("Time of a round: from its snapshot until every watcher has its events.")
                .with_unit("s")
                .with_boundaries(WATCH_SECONDS.to_vec())
                .build(),
            lag: meter
                .f64_histogram("keywire.watch.lag")
                .with_description(
                    "About the time from the last batch of a lane until every watcher has its events, by the clock of the database. Of \
                     several lanes in a round, the longest.",
                )
                .with_unit("s")
                .with_boundaries(WATCH_SECONDS.to_vec())
                .build(),
            changes: meter
                .u64_counter("keywire.watch.changes")
                .with_description("Changes that rounds have read from the log.")
                .with_unit("{change}")
                .build(),
            events: meter
                .u64_counter("keywire.watch.events")
                .with_description("Events that rounds have given to watchers.")
                .with_unit("{event}")
                .build(),
            resets: meter
                .u64_counter("keywire.watch.resets")
                .with_description("Resets of streams, by reason.")
                .with_unit("{reset}")
                .build(),
        }
    }

    /// Metrics that are not recorded.
    pub(crate) fn noop() -> Self {
        Self::new(&NoopMeterProvider::new().meter("noop"))
    }

    /// Records a SELECT for `gets` gets.
    pub(crate) fn select(&self, system: &'static str, gets: usize, took: Duration, ok: bool) {
        let labels = labels(system, "select", ok);
        self.batch_size.record(gets as u64, &labels[..2]);
        self.duration.record(took.as_secs_f64(), &labels);
    }

    /// Records a statement of a list or an export.
    pub(crate) fn scan(&self, system: &'static str, took: Duration, ok: bool) {
        self.duration.record(took.as_secs_f64(), &labels(system, "scan", ok));
    }

    /// Records the time that a round of the watches took.
    pub(crate) fn round(&self, took: Duration) {
        self.rounds.record(took.as_secs_f64(), &[]);
    }

    /// Records the age of the last batch of a round when every watcher had its events: of the lane whose last batch is the oldest.
    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.record(lag.as_secs_f64(), &[]);
    }

    /// Counts changes that a round has read.
    pub(crate) fn changes(&self, count: usize) {
        self.changes.add(count as u64, &[]);
    }

    /// Counts events that a round has given to watchers.
    pub(crate) fn events(&self, count: usize) {
        self.events.add(count as u64, &[]);
    }

    /// Counts a reset of a stream.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.resets.add(1, &[KeyValue::new("reason", reason.code())]);
    }
}

fn labels(system: &'static str, operation: &'static str, ok: bool) -> [KeyValue; 3] {
    [
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.operation.name", operation),
        KeyValue::new("outcome", if ok { "ok" } else { "failed" }),
    ]
}

/// Registers the gauges. They are read whenever the metrics are. `unread_pages` tells the bytes of pages that are not written
/// to their clients yet, `exports` how many exports are running.
pub(crate) fn register_gauges(
    meter: &Meter,
    health: &Arc<Health>,
    unread_pages: impl Fn() -> usize + Send + Sync + 'static,
    exports: impl Fn() -> usize + Send + Sync + 'static,
    watches: &Watches,
) {
    let of = |read: fn(&Health) -> usize| {
        let health = Arc::clone(health);
        move || read(&health)
    };
    gauge(meter, "keywire.watches", "Streams and long polls that are open.", "{watch}", watches.count());
    gauge(
        meter,
        "keywire.watch.backlog",
        "Bytes of events that are not written to their clients yet.",
        "By",
        watches.unread(),
    );
    gauge(meter, "keywire.exports", "Exports that are running.", "{export}", exports);
    gauge(
        meter,
        "keywire.lists.backlog",
        "Bytes of pages that are not written to their clients yet.",
        "By",
        unread_pages,
    );
    gauge(meter, "keywire.lookup.depth", "Keys waiting for a SELECT.", "{key}", of(Health::waiting));
    gauge(
        meter,
        "keywire.lookup.readers",
        "Readers that have a connection.",
        "{reader}",
        of(Health::connected),
    );
    gauge(
        meter,
        "keywire.lookup.backlog",
        "Bytes of replies to gets that are not written to their clients yet.",
        "By",
        of(Health::unread),
    );
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    read: impl Fn() -> usize + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge(name)
        .with_description(description)
        .with_unit(unit)
        .with_callback(move |observer| observer.observe(read() as u64, &[]))
        .build();
}
