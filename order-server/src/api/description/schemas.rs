//! Completes the schemas of bodies.
//!
//! - Requests: unknown fields are refused, and no text holds a NUL, which no database keeps.
//! - A field that need not be there may as well be `null`.
//! - What to buy comes in one of two forms.

use std::collections::{BTreeMap, BTreeSet};

use order_core::domain::Money;
use serde_json::{Map, Number, Value, json};

use super::operation;

const SCHEMAS: &str = "#/components/schemas/";
const EXAMPLE_PRODUCT: &str = "019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41";

pub(super) fn complete(document: &mut Value) {
    let requested = requested(document);
    let types = document["components"]["schemas"].as_object();
    let types = types.into_iter().flatten();
    let types: Types = types
        .map(|(name, schema)| (name.clone(), schema["type"].clone()))
        .collect();
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        let is_requested = requested.contains(name);
        if is_requested && schema["type"] == "object" {
            schema["additionalProperties"] = json!(false);
        }
        complete_properties(schema, is_requested, &types);
    }
    for name in ["Buy", "BulkOrder"] {
        if let Some(buy) = document["components"]["schemas"].get_mut(name) {
            *buy = in_two_forms(name, buy);
        }
    }
}

/// One product, or lines: what one form needs, the other must not have. Generators of clients name
/// types by the titles, so that each title is there once.
fn in_two_forms(name: &str, buy: &Value) -> Value {
    let form = |title: &str, needed: &[&str], excluded: &[&str]| {
        let mut form = buy.clone();
        form["title"] = json!(format!("{name}{title}"));
        form["required"] = json!(needed);
        for name in needed {
            form["properties"][name]["nullable"] = json!(false);
        }
        if let Some(properties) = form["properties"].as_object_mut() {
            for name in excluded {
                properties.shift_remove(*name);
            }
        }
        form
    };
    let (one, lines) = (["product_id", "quantity"], ["lines"]);
    json!({
        "description": buy["description"],
        "oneOf": [form("OfOneProduct", &one, &lines), form("OfLines", &lines, &one)],
        "example": {"product_id": EXAMPLE_PRODUCT, "quantity": 1},
    })
}

fn complete_properties(schema: &mut Value, is_requested: bool, types: &Types) {
    let required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if is_requested {
            refuse_nul(property);
            allow_numbers(property);
        }
        if !required.contains(&json!(name)) {
            allow_null(property);
        }
        name_type(property, types);
    }
}

/// The type of each schema.
type Types = BTreeMap<String, Value>;

/// Names the type of what may be `null`: without one, `nullable` says nothing.
fn name_type(property: &mut Value, types: &Types) {
    let referred = property["allOf"][0].as_object().and_then(reference);
    let ty = referred.and_then(|name| types.get(name)).cloned();
    if let Some(ty) = ty
        && property["nullable"] == true
    {
        property["type"] = ty;
    }
}

/// Beside a reference nothing counts, so that it moves into a list of one.
fn allow_null(property: &mut Value) {
    if property.get("$ref").is_some() {
        *property = json!({"allOf": [property.take()]});
    }
    property["nullable"] = json!(true);
}

fn refuse_nul(property: &mut Value) {
    let is_free = ["enum", "format", "pattern"]
        .iter()
        .all(|bound| property.get(bound).is_none());
    if property["type"] == "string" && is_free {
        property["pattern"] = json!(r"^[^\u0000]*$");
    }
}

/// Money may come in as a number, too.
fn allow_numbers(property: &mut Value) {
    if property["format"] != "decimal" {
        return;
    }
    let description = property["description"].take();
    let example = property["example"].take();
    let text = json!({"type": "string", "pattern": property["pattern"]});
    // No `multipleOf`: with floats, 19.99 is not a multiple of 0.01.
    let most: Option<Number> = Money::MAX_PRICE.to_string().parse().ok();
    let number = json!({"type": "number", "minimum": 0, "maximum": most});
    *property = json!({
        "description": description, "example": example, "oneOf": [text, number],
    });
}

/// The names of the schemas that bodies of requests are made of.
fn requested(document: &Value) -> BTreeSet<String> {
    let mut open: Vec<Value> = operation::bodies(document).collect();
    let mut names = BTreeSet::new();
    while let Some(part) = open.pop() {
        match part {
            Value::Object(fields) => {
                if let Some(name) = reference(&fields)
                    && names.insert(name.to_owned())
                {
                    open.push(document["components"]["schemas"][name].clone());
                }
                open.extend(fields.into_iter().map(|(_, field)| field));
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    names
}

fn reference(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)
}
