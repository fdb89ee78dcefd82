//! Metrics, traces and logs of one process. The only global state is the log subscriber.

mod log_filter;
mod log_limit;
mod log_queue;
mod resource;
mod span_export;

use std::io::IsTerminal as _;
use std::sync::Arc;

pub use self::log_filter::{BadLogFilter, LogFilter};
pub use self::log_limit::LogLimit;
use self::log_queue::LogQueue;
pub use self::log_queue::Logs;
pub use self::resource::{BadAttribute, ResourceAttributes};
use self::span_export::BoundedProcessor;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The filter of the spans that are exported. It excludes the HTTP client of the exporter: each export would cause the next.
const SPANS: &str = "info,hyper=off,hyper_util=off,reqwest=off,opentelemetry=off";

/// The telemetry of one process. Clones share it.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The instrumentation scope of every meter and tracer.
    service: &'static str,
    meters: SdkMeterProvider,
    /// The metrics behind `/metrics`.
    registry: Arc<Registry>,
    /// `None` without a collector.
    tracers: Option<SdkTracerProvider>,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The metrics pipeline cannot be built.
    #[error("metrics: {0}")]
    Metrics(#[from] OTelSdkError),
    /// The trace exporter cannot be built; most likely its endpoint is invalid.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(#[from] ExporterBuildError),
    /// The thread that writes the logs cannot be started.
    #[error("logs: {0}")]
    Thread(#[from] std::io::Error),
    /// The process has a log subscriber already.
    #[error("logs: {0}")]
    Subscriber(#[from] TryInitError),
}

impl Telemetry {
    /// Telemetry of a process. The name of its service is `service`, unless `attributes` has another name. There are traces only with
    /// the base URL of a collector (OTLP over HTTP).
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(
        service: &'static str,
        otlp_endpoint: Option<&str>,
        attributes: &ResourceAttributes,
    ) -> Result<Self, TelemetryError> {
        let resource = attributes.resource(service);
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let meters = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build();
        let tracers = otlp_endpoint.map(|base| tracers(base, resource)).transpose()?;
        Ok(Self { service, meters, registry: Arc::new(registry), tracers })
    }

    /// Sends logs to stderr, filtered by `filter`, and spans to the collector if there is one. Logging never waits for stderr.
    ///
    /// # Errors
    /// The system has no thread left, or this is the second call in the process.
    pub fn install(&self, filter: &LogFilter) -> Result<Logs, TelemetryError> {
        let queue = Arc::new(LogQueue::start(std::io::stderr())?);
        let logs = tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(Arc::clone(&queue))
            // It would report to stderr itself, and wait there.
            .log_internal_errors(false)
            .with_filter(filter.env_filter());
        let spans = self.tracers.as_ref().map(|tracers| {
            tracing_opentelemetry::layer()
                .with_tracer(tracers.tracer(self.service))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(EnvFilter::new(SPANS))
        });
        tracing_subscriber::registry().with(logs).with(spans).try_init()?;
        let counted = Arc::clone(&queue);
        self.meter()
            .u64_observable_counter("keywire.log.lines_left_out")
            .with_description("Log lines that were left out, because stderr was not read or is closed.")
            .with_callback(move |count| count.observe(counted.left_out(), &[]))
            .build();
        Ok(Logs::new(queue))
    }

    /// The meter that creates the instruments of the process.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meters.meter(self.service)
    }

    /// Whether spans are exported. If not, they need not be created.
    #[must_use]
    pub fn exports_spans(&self) -> bool {
        self.tracers.is_some()
    }

    /// All metrics as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot render the metrics");
            String::new()
        })
    }

    /// Sends the remaining spans to the collector. Call it last. It may take seconds if the collector cannot be reached.
    pub async fn shutdown(self) {
        // The exporter blocks its thread, so it must not be a thread of the runtime.
        let flushed = tokio::task::spawn_blocking(move || {
            let traces = self.tracers.map_or(Ok(()), |tracers| tracers.shutdown());
            traces.and(self.meters.shutdown())
        });
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "telemetry was lost");
        }
    }
}

fn tracers(base: &str, resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
        .build()?;
    let processor = BoundedProcessor::new(exporter);
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build())
}
