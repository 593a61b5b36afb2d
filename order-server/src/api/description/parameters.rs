//! Describes the bounds of parameters, with an example of each.

use serde_json::{Value, json};
use uuid::Uuid;

use super::operation;
use crate::api::cursor;

/// Describes every parameter of the document that has a name known here.
pub(super) fn complete(document: &mut Value) {
    for parameter in operation::parameters(document) {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let Some((example, bounds)) = known(&name) else {
            continue;
        };
        parameter["example"] = example;
        for (bound, value) in bounds {
            parameter["schema"][bound] = value;
        }
    }
}

/// An example, and bounds of the schema.
fn known(name: &str) -> Option<(Value, Vec<(&'static str, Value)>)> {
    let any_text = || ("pattern", json!(r"^[^\u0000]*$"));
    Some(match name {
        "id" => (json!(ID), vec![]),
        "product_id" => (json!(ID), vec![]),
        "page_size" => (json!(20), vec![("default", json!(20))]),
        "page" => (
            json!(1),
            vec![("minimum", json!(1)), ("maximum", json!(10_000))],
        ),
        "cursor" => (
            json!(cursor::encode(ID)),
            vec![("pattern", json!("^[A-Za-z0-9_-]{27}$"))],
        ),
        "search" => (json!("lamp"), vec![any_text()]),
        "reference" => (json!("till 4, receipt 1881"), vec![any_text()]),
        "status" => (json!("success"), vec![]),
        "topic" => (json!("process"), vec![]),
        "limit" => (json!(100), vec![("default", json!(100))]),
        "If-Match" => (
            json!("\"1\""),
            vec![("pattern", json!(r#"^(\*|"[0-9]{1,18}")$"#))],
        ),
        "If-None-Match" => (json!("\"1\""), vec![]),
        "Prefer" => (json!("wait=5"), vec![]),
        "Last-Event-ID" => (json!("pending"), vec![]),
        _ => return None,
    })
}

const ID: Uuid = Uuid::from_u128(0x019a_9d3c_4b1e_7c52_9f0a_6b1f_7d2e_8a41);
