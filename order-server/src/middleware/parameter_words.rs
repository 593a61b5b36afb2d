//! What a parameter must be, in words, from its schema.

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
    if schema["format"] == "uuid" {
        return "must be a UUID".to_owned();
    }
    "is not as it is described".to_owned()
}

/// The schema that a reference, alone or in a list of one, stands for.
fn resolved<'a>(schema: &'a Value, components: &'a Value) -> &'a Value {
    let schema = schema["allOf"].get(0).unwrap_or(schema);
    let name = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| &components["schemas"][name])
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
            (json!({"type": "string"}), "is not as it is described"),
        ] {
            assert_eq!(words(&schema, &components), told, "{schema}");
        }
    }
}
