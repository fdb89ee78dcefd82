//! The instruments of `rest-read`, each declared once.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use crate::backlog::Backlog;
use crate::gets::health::State;

/// What says how the read side is doing.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    batch_size: Histogram<u64>,
    duration: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            batch_size: meter
                .u64_histogram("db.client.operation.batch.size")
                .with_description("Gets per SELECT; 0 only asks whether the connection works.")
                .with_unit("{get}")
                .with_boundaries(vec![0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
                .build(),
            duration: meter
                .f64_histogram("db.client.operation.duration")
                .with_description(
                    "From sending a SELECT to its last row; `scan` is one of a list or an export.",
                )
                .with_unit("s")
                .with_boundaries(vec![
                    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
                    2.5, 5.0,
                ])
                .build(),
        }
    }

    /// One SELECT for `gets` gets has ended.
    pub(crate) fn select(&self, system: &'static str, gets: usize, took: Duration, ok: bool) {
        let labels = labels(system, "select", ok);
        self.batch_size.record(gets as u64, &labels[..2]);
        self.duration.record(took.as_secs_f64(), &labels);
    }

    /// One statement of a list or an export has ended.
    pub(crate) fn scan(&self, system: &'static str, took: Duration, ok: bool) {
        self.duration.record(took.as_secs_f64(), &labels(system, "scan", ok));
    }
}

fn labels(system: &'static str, operation: &'static str, ok: bool) -> [KeyValue; 3] {
    [
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.operation.name", operation),
        KeyValue::new("outcome", if ok { "ok" } else { "failed" }),
    ]
}

/// Shows the state of the lookup, the pages that wait for clients, and how many exports are under way, whenever the metrics
/// are read.
pub(crate) fn watch(
    meter: &Meter,
    state: &Arc<State>,
    pages: Arc<Backlog>,
    exports: impl Fn() -> usize + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge("keywire.exports")
        .with_description("Exports under way.")
        .with_unit("{export}")
        .with_callback(move |observer| observer.observe(exports() as u64, &[]))
        .build();
    meter
        .u64_observable_gauge("keywire.lists.backlog")
        .with_description("Bytes of pages not written to clients yet.")
        .with_unit("By")
        .with_callback(move |observer| observer.observe(pages.bytes() as u64, &[]))
        .build();
    let gauge = |name, description, unit, read: fn(&State) -> usize| {
        let state = Arc::clone(state);
        meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_unit(unit)
            .with_callback(move |observer| observer.observe(read(&state) as u64, &[]))
            .build();
    };
    gauge("keywire.lookup.depth", "Keys waiting for a SELECT.", "{key}", State::waiting);
    gauge("keywire.lookup.readers", "Readers that have a connection.", "{reader}", State::connected);
    gauge("keywire.lookup.backlog", "Bytes of found values not written to clients yet.", "By", |state| {
        state.backlog.bytes()
    });
}
