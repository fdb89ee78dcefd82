//! The resource of all telemetry: name, version and attributes of the service, from the variables of OpenTelemetry.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;

/// Attributes of the resource, from `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`. If a name has two values, the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAttributes(Vec<(String, String)>);

/// An entry of `OTEL_RESOURCE_ATTRIBUTES` is not `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not name=value; write name=value,name=value, with special characters percent-encoded")]
pub struct BadAttribute(String);

const SERVICE_NAME: &str = "service.name";

impl ResourceAttributes {
    /// Parses the values of both variables. `service_name` replaces an attribute `service.name`.
    ///
    /// # Errors
    /// An entry of `attributes` is malformed.
    pub fn parse(attributes: Option<&str>, service_name: Option<&str>) -> Result<Self, BadAttribute> {
        let entries = attributes.unwrap_or_default().split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty()).map(parse_entry);
        let mut parsed = entries.collect::<Result<Vec<_>, _>>()?;
        let service_name = service_name.map(str::trim).filter(|name| !name.is_empty());
        parsed.extend(service_name.map(|name| (SERVICE_NAME.to_owned(), name.to_owned())));
        Ok(Self(parsed))
    }

    /// The resource of a process. The name of its service is `service`, unless an attribute has another name.
    pub(crate) fn resource(&self, service: &'static str) -> Resource {
        let own = [
            KeyValue::new(SERVICE_NAME, service),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let attributes = self.0.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(own.into_iter().chain(attributes))
            .build()
    }
}

fn parse_entry(entry: &str) -> Result<(String, String), BadAttribute> {
    let bad = || BadAttribute(entry.to_owned());
    let decoded = |text: &str| {
        let text = percent_decode_str(text.trim()).decode_utf8().map_err(|_| bad())?;
        Ok(text.into_owned())
    };
    let (name, value) = entry.split_once('=').ok_or_else(bad)?;
    match (decoded(name)?, decoded(value)?) {
        (name, _) if name.is_empty() => Err(bad()),
        pair => Ok(pair),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn attribute(attributes: Option<&str>, service_name: Option<&str>, name: &'static str) -> Option<String> {
        let parsed = ResourceAttributes::parse(attributes, service_name).expect("well-formed");
        parsed.resource("keywire").get(&Key::from_static_str(name)).map(|value| value.to_string())
    }

    #[test]
    fn the_service_is_named_as_the_variables_say() {
        let named = |attributes, name| attribute(attributes, name, SERVICE_NAME).expect("there is a name");
        assert_eq!(named(None, None), "keywire");
        assert_eq!(named(Some("service.name=shop"), None), "shop");
        assert_eq!(named(Some("service.name=shop"), Some("cart")), "cart");
        assert_eq!(named(Some(""), Some(" ")), "keywire");
        let both = Some(" deployment.environment.name = a%2Cb ,k=,");
        assert_eq!(attribute(both, None, "deployment.environment.name").as_deref(), Some("a,b"));
        assert_eq!(attribute(both, None, "k").as_deref(), Some(""));
        assert!(attribute(None, None, "service.version").is_some());
        assert!(attribute(None, None, "telemetry.sdk.language").is_some());
    }

    #[test]
    fn an_entry_without_a_name_or_a_value_is_refused() {
        for text in ["shop", "=shop", "a=b,shop", "a=%ff"] {
            assert!(ResourceAttributes::parse(Some(text), None).is_err(), "{text}");
        }
    }
}
