//! The last touches: what readers and generators of clients expect of every operation, and groups in
//! the order in which somebody reads them.

use order_core::domain::{Currency, Money};
use serde_json::{Value, json};

/// The groups, those first that a newcomer needs first.
const TAGS: [&str; 4] = ["Products", "Orders", "Operations", "Health"];

pub(super) fn finish(document: &mut Value) {
    // Nothing in it is of a later version than 3.0.0, and 3.0.3 says the same more clearly.
    document["openapi"] = json!("3.0.3");
    tell_currency(document);
    copy_in_place(document);
    let rank = |tag: &Value| TAGS.iter().position(|name| tag["name"] == *name);
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| rank(tag).unwrap_or(TAGS.len()));
    }
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        let Some(operation) = operation.as_object_mut() else {
            continue;
        };
        // One that needs no key says so, whatever a default may be.
        operation.entry("security").or_insert_with(|| json!([]));
        describe(operation);
    }
}

/// Puts a copy in place of a reference that may be `null`: what a reference leads to may not, and
/// nothing beside it changes that. So it does in place of an enumeration that is described: generators
/// of clients take only objects together.
fn copy_in_place(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let all = document["components"]["schemas"].as_object_mut();
    let properties = all
        .into_iter()
        .flatten()
        .filter_map(|(_, schema)| schema.get_mut("properties")?.as_object_mut());
    for (_, property) in properties.flatten() {
        let name = property["allOf"][0]["$ref"].as_str().unwrap_or_default();
        let name = name.strip_prefix("#/components/schemas/");
        let Some(name) = name else { continue };
        let may_be_null = property["nullable"] == true;
        if may_be_null || schemas[name]["enum"].is_array() {
            let mut copy = schemas[name].clone();
            if may_be_null {
                copy["nullable"] = json!(true);
            }
            let described = [
                &property["description"],
                &property["allOf"][1]["description"],
            ];
            if let Some(description) = described.into_iter().find(|text| text.is_string()) {
                copy["description"] = description.clone();
            }
            *property = copy;
        }
    }
    // What nothing refers to any more is in its place.
    let text = document.to_string();
    if let Some(all) = document["components"]["schemas"].as_object_mut() {
        all.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
    }
}

/// Tells the currency, and writes all prices of examples with its decimals.
fn tell_currency(document: &mut Value) {
    let currency = Currency::of_process();
    document["info"]["x-currency"] =
        json!({"code": currency.code(), "decimals": currency.decimals()});
    let total = &mut document["components"]["schemas"]["Order"]["properties"]["total_price"];
    total["pattern"] = json!(match currency.decimals() {
        0 => r"^\d{1,19}$".to_owned(),
        decimals => format!(r"^\d{{1,{}}}\.\d{{{decimals}}}$", 19 - decimals),
    });
    if currency != Currency::USD {
        convert(document, currency);
    }
}

/// Examples are written in dollars: as many minor units are as good an example.
fn convert(value: &mut Value, currency: Currency) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let minor_units = field
                    .as_str()
                    .and_then(|text| text.replace('.', "").parse().ok());
                match (name.as_str(), minor_units.and_then(Money::from_minor_units)) {
                    ("currency", _) if field.is_string() => *field = json!(currency.code()),
                    ("price" | "unit_price" | "total_price" | "example", Some(money)) => {
                        *field = json!(money);
                    }
                    _ => convert(field, currency),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| convert(item, currency)),
        _ => {}
    }
}

/// Makes a title of the first words of a summary, and a description of all of it.
fn describe(operation: &mut serde_json::Map<String, Value>) {
    let Some(summary) = operation.get("summary").and_then(Value::as_str) else {
        return;
    };
    let summary = summary.replace('\n', " ");
    let end = summary.find([':', '.', ',']).unwrap_or(summary.len());
    let title = json!(summary[..end]);
    operation.insert("summary".to_owned(), title);
    operation
        .entry("description")
        .or_insert_with(|| json!(format!("{}.", summary.trim_end_matches('.'))));
}
