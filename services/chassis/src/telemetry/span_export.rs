//! Sends spans to the collector, and logs how many were lost.
//!
//! The processor of the SDK drops spans while its queue is full, and drops a batch that the collector refuses. It tells so only in its
//! internal logs, which are switched off because they have no limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use super::log_limit::LogLimit;

/// The most spans that wait for the collector. Further spans are left out.
const WAITING_MAX: usize = 2048;

/// The counts that both ends of the queue share.
#[derive(Debug, Default)]
struct Counts {
    /// Spans in the queue, and in the export under way.
    waiting: AtomicUsize,
    /// Spans left out because too many waited, since the last line in the log.
    left_out: AtomicU64,
    /// Spans that the collector did not take, since the last line in the log.
    refused: AtomicU64,
}

/// The end of the queue that takes spans in. It logs nothing, because it runs while a span is closed.
#[derive(Debug)]
pub(crate) struct BoundedProcessor {
    queue: BatchSpanProcessor,
    counts: Arc<Counts>,
}

/// The end of the queue that sends spans to the collector.
#[derive(Debug)]
struct WatchedExporter<E> {
    collector: E,
    counts: Arc<Counts>,
    log: LogLimit,
}

impl BoundedProcessor {
    pub(crate) fn new(collector: impl SpanExporter + 'static) -> Self {
        let counts = Arc::new(Counts::default());
        let exporter = WatchedExporter { collector, counts: Arc::clone(&counts), log: LogLimit::default() };
        let config = BatchConfigBuilder::default().with_max_queue_size(WAITING_MAX).build();
        Self { queue: BatchSpanProcessor::new(exporter, config), counts }
    }
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return self.queue.on_end(span);
        }
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counts.left_out.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for WatchedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = self.collector.export(batch).await;
        self.counts.waiting.fetch_sub(count, Ordering::Relaxed);
        if exported.is_err() {
            self.counts.refused.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.report(exported.as_ref().err().map(ToString::to_string));
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.collector.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.collector.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.collector.set_resource(resource);
    }
}

impl<E> WatchedExporter<E> {
    /// Logs the spans that were lost, at most once a minute. `error` is that of the export that has just ended.
    fn report(&self, error: Option<String>) {
        let is_lossless = [&self.counts.left_out, &self.counts.refused]
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0);
        if is_lossless || self.log.admit().is_none() {
            return;
        }
        let left_out = self.counts.left_out.swap(0, Ordering::Relaxed);
        let refused = self.counts.refused.swap(0, Ordering::Relaxed);
        let error = error.unwrap_or_else(|| "the queue was full".to_owned());
        tracing::warn!(
            %error,
            refused,
            left_out,
            "spans were lost: the collector (OTEL_EXPORTER_OTLP_ENDPOINT) refused them, or was too slow for them"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// A collector that refuses the first batches, each only once `gate` lets it, and takes the others.
    #[derive(Debug)]
    struct SlowCollector {
        gate: Mutex<mpsc::Receiver<()>>,
        begun: Mutex<mpsc::Sender<usize>>,
    }

    impl SpanExporter for SlowCollector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let told = self.begun.lock().expect("no panic").send(batch.len());
            let open = self.gate.lock().expect("no panic").recv();
            if told.is_err() || open.is_err() {
                Ok(())
            } else {
                Err(OTelSdkError::InternalFailure("busy".into()))
            }
        }
    }

    #[test]
    fn spans_that_are_left_out_or_refused_are_counted() {
        let (open, gate) = mpsc::channel();
        let (begun, exports) = mpsc::channel();
        let collector = SlowCollector { gate: Mutex::new(gate), begun: Mutex::new(begun) };
        let processor = BoundedProcessor::new(collector);
        let counts = Arc::clone(&processor.counts);
        let tracers = SdkTracerProvider::builder().with_span_processor(processor).build();
        let tracer = tracers.tracer("test");
        for _ in 0..WAITING_MAX + 10 {
            drop(tracer.start("span"));
        }
        let first = exports.recv_timeout(Duration::from_mins(1)).expect("a batch");
        assert_eq!(counts.left_out.load(Ordering::Relaxed), 10, "the batch under way counts as waiting");
        open.send(()).expect("the collector lives");
        exports.recv_timeout(Duration::from_mins(1)).expect("the next batch");
        assert_eq!(counts.waiting.load(Ordering::Relaxed), WAITING_MAX - first);
        // The first line in the log took both counts.
        let lost = [&counts.left_out, &counts.refused].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(lost, [0, 0], "they are in the log");
        drop((open, exports));
        tracers.shutdown().expect("the rest is taken");
        assert_eq!(counts.waiting.load(Ordering::Relaxed), 0);
    }
}
