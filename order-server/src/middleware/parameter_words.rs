//! What a parameter must be, in words, from its schema.

use order_core::domain::Money;
use serde_json::Value;

/// What a value of `schema` must be. References lead into `components`.
pub(super) fn words(schema: &Value, components: &Value) -> String {
    let schema = resolved(schema, components);
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return format!("must be one of {}", values.join(", "));
    }
    if schema["type"] == "integer" {
        let bound = |name: &str| schema[name].as_f64();
        return match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("must be a whole number from {least} to {most}"),
            _ => "must be a whole number".to_owned(),
        };
    }
    match schema["format"].as_str() {
        Some("uuid") => "must be a UUID".to_owned(),
        Some("date-time") => "must be a time such as 2026-01-31T12:00:00Z".to_owned(),
        Some("decimal") => format!("must be an amount from 0 to {}", Money::MAX_PRICE),
        _ if schema["type"] == "boolean" => "must be true or false".to_owned(),
        _ => "is not as it is described".to_owned(),
    }
}

/// The component that a reference, alone or in a list of one, stands for.
pub(super) fn resolved<'a>(part: &'a Value, components: &'a Value) -> &'a Value {
    let part = part["allOf"].get(0).unwrap_or(part);
    let pointer = part["$ref"].as_str();
    let pointer = pointer.and_then(|reference| reference.strip_prefix("#/components"));
    pointer
        .and_then(|pointer| components.pointer(pointer))
        .unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_told_in_words() {
        let components = json!({"schemas": {"Topic": {"type": "string", "enum": ["a", "b"]}}});
        let reference = json!({"$ref": "#/components/schemas/Topic"});
        for (schema, told) in [
            (reference.clone(), "must be one of a, b"),
            (json!({"allOf": [reference]}), "must be one of a, b"),
            (
                json!({"type": "integer", "minimum": 1.0, "maximum": 100.0}),
                "must be a whole number from 1 to 100",
            ),
            (json!({"type": "integer"}), "must be a whole number"),
            (
                json!({"type": "string", "format": "uuid"}),
                "must be a UUID",
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                "must be a time such as 2026-01-31T12:00:00Z",
            ),
            (
                json!({"type": "string", "format": "decimal"}),
                "must be an amount from 0 to 9999999999999.99",
            ),
            (json!({"type": "boolean"}), "must be true or false"),
            (json!({"type": "string"}), "is not as it is described"),
        ] {
            assert_eq!(words(&schema, &components), told, "{schema}");
        }
    }
}
