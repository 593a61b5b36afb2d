//! Completes the description that the framework derives.

use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::Value;

use super::{finish, headers, operation, parameters, problems, schemas, share};

const OVERLAY: &str = include_str!("overlay.json");

/// The whole description of `api`.
pub(crate) fn describe<T: OpenApi, W: Webhook>(api: &OpenApiService<T, W>) -> String {
    let derived = api.spec();
    complete(&derived).unwrap_or_else(|error| {
        tracing::error!(%error, "the description of the API cannot be completed");
        derived
    })
}

fn complete(derived: &str) -> serde_json::Result<String> {
    let mut document: Value = serde_json::from_str(derived)?;
    schemas::complete(&mut document);
    parameters::complete(&mut document);
    for mut operation in operation::all(&mut document) {
        problems::complete(&mut operation);
        headers::complete(&mut operation);
    }
    problems::name_codes(&mut document);
    lay_over(&mut document, serde_json::from_str(OVERLAY)?);
    finish::finish(&mut document);
    share::share(&mut document);
    serde_json::to_string_pretty(&document)
}

/// Merges `patch` into `target`: objects field by field, where `null` takes a field away, and
/// anything else, an example included, as a whole.
fn lay_over(target: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (name, patch) in fields {
        if patch.is_null() {
            target.shift_remove(&name);
        } else if name == "example" {
            target.insert(name, patch);
        } else {
            lay_over(target.entry(name).or_insert(Value::Null), patch);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_overlay_adds_replaces_and_removes() {
        let mut document = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        let overlay = json!({"a": {"b": null, "c": [3], "e": {"f": 1}}, "d": {"g": true},
                             "example": {"h": null}});
        lay_over(&mut document, overlay);
        let expected = json!({"a": {"c": [3], "e": {"f": 1}}, "d": {"g": true},
                              "example": {"h": null}});
        assert_eq!(document, expected);
    }
}
