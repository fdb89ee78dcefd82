//! The admin port: liveness, readiness and metrics.

use http::{StatusCode, header};
use poem::endpoint::make_sync;
use poem::{Response, Route, get};
use tokio::net::TcpListener;

use crate::edge::admin_edge;
use crate::process::stop::Stop;
use crate::server::{ADMIN_LIMITS, serve};
use crate::telemetry::Telemetry;

/// Serves `/livez`, `/readyz` and `/metrics` as long as the future is polled. During the drain the process is not ready.
/// `ready` is the check behind `/readyz`: its error says why not. It must not block. `public_hosts` are the names with a dot under
/// which the port is served.
pub async fn serve_admin<R>(
    listener: TcpListener,
    ready: R,
    public_hosts: Vec<String>,
    telemetry: &Telemetry,
    stop: &Stop,
) where
    R: Fn() -> Result<(), String> + Send + Sync + 'static,
{
    let (metrics, stop) = (telemetry.clone(), stop.clone());
    let readiness = move || {
        if stop.begun() { Err("stopping".to_owned()) } else { ready() }
    };
    let app = Route::new()
        .at("/livez", get(make_sync(|_| text(StatusCode::OK, "alive\n"))))
        .at(
            "/readyz",
            get(make_sync(move |_| match readiness() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            })),
        )
        .at(
            "/metrics",
            get(make_sync(move |_| {
                let response = Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8");
                response.body(metrics.render())
            })),
        );
    serve(listener, None, admin_edge(app, public_hosts), &ADMIN_LIMITS, &Stop::new()).await;
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    Response::builder()
        .status(status)
        .content_type("text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .body(text.into())
}
