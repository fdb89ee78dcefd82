//! The rules of `AsyncAPI` 3.0 for a document: required fields, allowed fields, and references with a target.

use serde_json::Value;

/// An object of the specification: its path (`*`: each member), its required fields, its optional fields.
const OBJECTS: [(&str, &[&str], &[&str]); 13] = [
    (
        "",
        &["asyncapi", "info"],
        &["id", "servers", "defaultContentType", "channels", "operations", "components"],
    ),
    (
        "info",
        &["title", "version"],
        &["description", "termsOfService", "contact", "license", "tags", "externalDocs"],
    ),
    ("info/license", &["name"], &["url"]),
    (
        "servers/*",
        &["host", "protocol"],
        &[
            "protocolVersion",
            "pathname",
            "description",
            "title",
            "summary",
            "variables",
            "security",
            "tags",
            "externalDocs",
            "bindings",
        ],
    ),
    ("servers/*/variables/*", &[], &["enum", "default", "description", "examples"]),
    (
        "channels/*",
        &[],
        &[
            "address",
            "messages",
            "title",
            "summary",
            "description",
            "servers",
            "parameters",
            "tags",
            "externalDocs",
            "bindings",
        ],
    ),
    ("channels/*/bindings/ws", &[], &["method", "query", "headers", "bindingVersion"]),
    (
        "operations/*",
        &["action", "channel"],
        &[
            "title",
            "summary",
            "description",
            "security",
            "tags",
            "externalDocs",
            "bindings",
            "traits",
            "messages",
            "reply",
        ],
    ),
    ("operations/*/reply", &[], &["address", "channel", "messages"]),
    (
        "components",
        &[],
        &[
            "schemas",
            "servers",
            "channels",
            "operations",
            "messages",
            "securitySchemes",
            "serverVariables",
            "parameters",
            "correlationIds",
            "replies",
            "replyAddresses",
            "externalDocs",
            "tags",
            "operationTraits",
            "messageTraits",
            "serverBindings",
            "channelBindings",
            "operationBindings",
            "messageBindings",
        ],
    ),
    ("components/correlationIds/*", &["location"], &["description"]),
    (
        "components/messages/*",
        &[],
        &[
            "headers",
            "payload",
            "correlationId",
            "contentType",
            "name",
            "title",
            "summary",
            "description",
            "tags",
            "externalDocs",
            "bindings",
            "examples",
            "traits",
        ],
    ),
    ("components/messages/*/examples/*", &["payload"], &["headers", "name", "summary"]),
];

/// The keywords that schemas of the document use. A misspelt keyword would have no effect, and nothing would report it.
const SCHEMA: [&str; 21] = [
    "$ref",
    "type",
    "description",
    "required",
    "properties",
    "additionalProperties",
    "enum",
    "const",
    "not",
    "allOf",
    "oneOf",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "pattern",
    "default",
    "title",
];

/// The objects that none of `documents` has.
pub(crate) fn unused(documents: &[&Value]) -> Vec<&'static str> {
    let is_in = |place: &str| {
        let path: Vec<_> = place.split('/').filter(|step| !step.is_empty()).collect();
        documents.iter().any(|document| !at(document, &path, String::new()).is_empty())
    };
    OBJECTS.iter().map(|(place, ..)| *place).filter(|place| !is_in(place)).collect()
}

/// The errors in `document`.
pub(crate) fn faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if document["asyncapi"] != "3.0.0" {
        faults.push("it is not of AsyncAPI 3.0".to_owned());
    }
    for (place, required, optional) in OBJECTS {
        let path: Vec<_> = place.split('/').filter(|step| !step.is_empty()).collect();
        for (place, object) in at(document, &path, String::new()) {
            faults.extend(fields(&place, object, required, optional));
        }
    }
    references(document, document, "", &mut faults);
    for (place, schema) in at(document, &["components", "schemas", "*"], String::new()) {
        faults.extend(
            jsonschema::draft7::meta::validate(schema).err().map(|error| format!("{place}: {error}")),
        );
        words(&place, schema, &mut faults);
    }
    for (place, list) in [
        at(document, &["operations", "*", "messages"], String::new()),
        at(document, &["operations", "*", "reply", "messages"], String::new()),
    ]
    .concat()
    {
        for reference in list.as_array().into_iter().flatten() {
            let reference = reference["$ref"].as_str().unwrap_or_default();
            if !reference.starts_with("#/channels/") {
                faults.push(format!("{place}: {reference} is no message of a channel"));
            }
        }
    }
    faults
}

/// All values at `path` below `value`, with their paths.
fn at<'a>(value: &'a Value, path: &[&str], place: String) -> Vec<(String, &'a Value)> {
    let Some((step, path)) = path.split_first() else { return vec![(place, value)] };
    members(value)
        .into_iter()
        .filter(|(name, _)| *step == "*" || name == step)
        .flat_map(|(name, value)| at(value, path, format!("{place}/{name}")))
        .collect()
}

fn members(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        _ => Vec::new(),
    }
}

fn fields(place: &str, object: &Value, required: &[&str], optional: &[&str]) -> Vec<String> {
    let Some(object) = object.as_object() else { return vec![format!("{place} is no object")] };
    let missing = required.iter().filter(|name| !object.contains_key(**name));
    let known = |name: &str| required.contains(&name) || optional.contains(&name) || name.starts_with("x-");
    let unknown = object.keys().filter(|name| !known(name));
    missing
        .map(|name| format!("{place} has no {name}"))
        .chain(unknown.map(|name| format!("{place} cannot have {name}")))
        .collect()
}

/// Finds each `$ref` that has other members beside it or no target.
fn references(document: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    if let Some(reference) = value.get("$ref") {
        let target = reference.as_str().and_then(|reference| reference.strip_prefix('#'));
        if target.and_then(|target| document.pointer(target)).is_none() {
            faults.push(format!("{place}: {reference} leads nowhere"));
        }
        if value.as_object().is_some_and(|object| object.len() > 1) {
            faults.push(format!("{place}: what stands beside a $ref is ignored"));
        }
    }
    for (name, value) in members(value) {
        references(document, value, &format!("{place}/{name}"), faults);
    }
}

/// Finds unknown keywords in a schema and the schemas below it.
fn words(place: &str, schema: &Value, faults: &mut Vec<String>) {
    for (word, value) in members(schema) {
        let place = format!("{place}/{word}");
        if !SCHEMA.contains(&word.as_str()) {
            faults.push(format!("{place}: no word of a schema"));
        }
        match word.as_str() {
            "properties" | "allOf" | "oneOf" => {
                for (name, schema) in members(value) {
                    words(&format!("{place}/{name}"), schema, faults);
                }
            }
            "items" | "not" => words(&place, value, faults),
            _ => {}
        }
    }
}
