//! Who asks, as the specification documents it and as the edge found it out.

use std::sync::Arc;

use chassis::access::Holder;
use chassis::peer::Line;
use chassis::problem::Problem;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

const SCHEME: &str = "token";

/// Someone who may ask; what for is still to be checked.
pub(crate) struct Caller {
    holder: Holder,
    /// None where there is no connection, as in tests of the routes.
    line: Option<Arc<Line>>,
}

impl Caller {
    /// Whether the caller may read all of these: keys, or what keys begin with.
    pub(crate) fn check<'a>(&self, asked: impl IntoIterator<Item = &'a str>) -> Result<(), Problem> {
        let Holder(grant) = &self.holder;
        asked.into_iter().try_for_each(|prefix| grant.read(prefix))
    }

    /// Counts `ops` more than the one that the request is.
    pub(crate) fn spend(&self, ops: usize) -> Result<(), Problem> {
        let Holder(grant) = &self.holder;
        self.line.as_ref().map_or(Ok(()), |line| line.spend(ops))?;
        grant.spend(ops)
    }

    /// Where the answer goes.
    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        self.line.as_ref()
    }
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "http",
            description: Some("Needed only where the service has tokens"),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SCHEME, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let holder = <Holder as FromRequest>::from_request(request, body).await?;
        Ok(Self { holder, line: request.extensions().get().cloned() })
    }
}
