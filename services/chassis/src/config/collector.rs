//! The options of `OpenTelemetry`: where traces go, and under which name.

use url::Url;

use super::command_line::without_password;
use super::path::plain_text;
use crate::telemetry::{BadAttribute, ResourceAttributes};

/// The path that the exporter appends to the base URL.
const TRACES_PATH: &str = "/v1/traces";

/// The protocol of the exporter, as the standard names it.
const PROTOCOL: &str = "http/protobuf";

/// Options of telemetry. The hidden options are variables of the `OpenTelemetry` standard: they may be set for all programs of a machine.
#[derive(Debug, Clone, clap::Args)]
pub struct CollectorArgs {
    /// Base URL of an OpenTelemetry collector for traces (OTLP over HTTP); without it no traces
    #[arg(long, env)]
    pub otel_exporter_otlp_endpoint: Option<String>,

    /// Name of this service in traces and metrics; default: the name of the program
    #[arg(long, env, value_parser = plain_text)]
    pub otel_service_name: Option<String>,

    /// More attributes of this service in traces and metrics, as `name=value,name=value`
    #[arg(long, env)]
    pub otel_resource_attributes: Option<String>,

    /// Must be `http/protobuf`
    #[arg(long, env, hide = true)]
    pub otel_exporter_otlp_protocol: Option<String>,

    /// Not supported
    #[arg(long, env, hide = true)]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,

    /// `true`: no traces
    #[arg(long, env, hide = true)]
    pub otel_sdk_disabled: Option<String>,
}

/// Why traces would not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BadCollector {
    /// It is no URL, or its scheme is not HTTP or HTTPS.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0:?} is not a URL such as http://localhost:4318")]
    NoUrl(String),
    /// It has the path that is appended to it.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: leave {TRACES_PATH} out, it is appended")]
    HasTracesPath,
    /// The variable for traces alone is set.
    #[error(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not supported: set OTEL_EXPORTER_OTLP_ENDPOINT, without {TRACES_PATH}"
    )]
    TracesEndpoint,
    /// The collector expects another protocol.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL: {0:?} is not supported: set it to {PROTOCOL}, and OTEL_EXPORTER_OTLP_ENDPOINT to the port for HTTP (4318)"
    )]
    Protocol(String),
}

impl CollectorArgs {
    /// The base URL of the collector. `None`: no traces.
    pub(super) fn endpoint(&self) -> Result<Option<String>, BadCollector> {
        let is_off = self.otel_sdk_disabled.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if is_off {
            return Ok(None);
        }
        if self.otel_exporter_otlp_traces_endpoint.is_some() {
            return Err(BadCollector::TracesEndpoint);
        }
        let Some(endpoint) = self.otel_exporter_otlp_endpoint.as_ref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if !is_http(endpoint) {
            return Err(BadCollector::NoUrl(without_password(endpoint)));
        }
        if endpoint.trim_end_matches('/').ends_with(TRACES_PATH) {
            return Err(BadCollector::HasTracesPath);
        }
        match &self.otel_exporter_otlp_protocol {
            Some(other) if other != PROTOCOL => Err(BadCollector::Protocol(other.clone())),
            Some(_) | None => Ok(Some(endpoint.clone())),
        }
    }

    /// The attributes of the service.
    pub(super) fn attributes(&self) -> Result<ResourceAttributes, BadAttribute> {
        ResourceAttributes::parse(self.otel_resource_attributes.as_deref(), self.otel_service_name.as_deref())
    }
}

fn is_http(text: &str) -> bool {
    // `Url::parse` ignores control characters.
    let is_clean = !text.contains(|char: char| char.is_control() || char == ' ');
    is_clean && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
