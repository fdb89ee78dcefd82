//! HTTP: the routes of the read side, their operations, and the documents.

pub(crate) mod api;
mod bearer;
mod docs;
mod documents;
pub(crate) mod etag;
pub(crate) mod fast_path;
mod parameters;
mod reply;
mod schema;

use chassis::edge::Unmeasured;
use poem::endpoint::BoxEndpoint;
use poem::{Endpoint, IntoEndpoint as _, PathPattern, Request, Response, Route, get};

use crate::http::api::{Api, ENTRY, service};
use crate::http::documents::Document;

/// `/storage`, `/export`, `/watch`, and the documents.
pub(crate) fn app(api: Api) -> impl Endpoint<Output = Response> + 'static {
    let api = service(api);
    let documents = Route::new()
        .at("/", get(Document::console()))
        .at("/docs", get(Document::html(&docs::page(&api.swagger_ui_html()))))
        .at("/openapi.json", get(Document::json(api.spec())))
        .at("/watch/asyncapi.yaml", get(Document::events()));
    App { api: api.into_endpoint(), entry: PathPattern(ENTRY.into()), documents }
}

/// The API and the documents.
struct App {
    api: BoxEndpoint<'static>,
    /// [`ENTRY`].
    entry: PathPattern,
    documents: Route,
}

impl Endpoint for App {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path();
        if !path.starts_with("/storage") && path != "/export" && path != "/watch" {
            return self.documents.call(request).await;
        }
        let is_entry = path.starts_with("/storage/");
        let mut result = self.api.call(request).await;
        if is_entry {
            match &mut result {
                Ok(response) => {
                    response.set_data(self.entry.clone());
                    if response.headers().contains_key("preference-applied") {
                        // It has waited because its client wished so.
                        response.set_data(Unmeasured);
                    }
                }
                // A request without a route is not given one.
                Err(error) if error.data::<PathPattern>().is_some() => error.set_data(self.entry.clone()),
                Err(_) => {}
            }
        }
        result
    }
}
