//! HTTP: the routes of the read side, the operations behind them, and the documents.

pub(crate) mod api;
mod bearer;
mod documents;
pub(crate) mod etag;
pub(crate) mod fast_path;
mod parameters;
mod reply;
mod schema;

use poem::endpoint::BoxEndpoint;
use poem::{Endpoint, IntoEndpoint as _, PathPattern, Request, Response, Route, get};

use crate::http::api::{Api, service};
use crate::http::documents::Page;
use crate::http::fast_path::ENTRY;

/// `/storage`, `/export`, the specification and the pages.
pub(crate) fn app(api: Api) -> impl Endpoint<Output = Response> + 'static {
    let api = service(api);
    let pages = Route::new()
        .at("/", get(Page::console()))
        .at("/docs", get(Page::html(&format!("<!doctype html>{}", api.swagger_ui_html()))))
        .at("/openapi.json", get(Page::json(api.spec())));
    App { api: api.into_endpoint(), entry: PathPattern(ENTRY.into()), pages }
}

/// The API beside the pages.
struct App {
    api: BoxEndpoint<'static>,
    /// [`ENTRY`].
    entry: PathPattern,
    pages: Route,
}

impl Endpoint for App {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path();
        if !path.starts_with("/storage") && path != "/export" {
            return self.pages.call(request).await;
        }
        let is_entry = path.starts_with("/storage/");
        let mut result = self.api.call(request).await;
        if is_entry {
            match &mut result {
                Ok(response) => response.set_data(self.entry.clone()),
                // What has no route keeps having none.
                Err(error) if error.data::<PathPattern>().is_some() => error.set_data(self.entry.clone()),
                Err(_) => {}
            }
        }
        result
    }
}
