//! Describes the bounds of parameters, with an example of each that has to be given.
//!
//! Others have none: the page at `/docs` fills its form with examples, and a list that is asked for
//! with all of them at once answers nothing.

use serde_json::{Value, json};
use uuid::Uuid;

use super::operation;

/// Describes every parameter of the document that has a name known here.
pub(super) fn complete(document: &mut Value) {
    for parameter in operation::parameters(document) {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        if parameter["required"] == true
            && let Some(example) = example(&name)
        {
            parameter["example"] = example;
        }
        for (bound, value) in bounds(&name) {
            parameter["schema"][bound] = value;
        }
        if name == "ids" {
            parameter["explode"] = json!(false);
            parameter["schema"] = json!({
                "type": "array", "minItems": 1, "maxItems": 100,
                "items": {"type": "string", "format": "uuid"},
            });
        }
        if name == "limit" && parameter["schema"]["maximum"].as_f64() == Some(1_000.0) {
            parameter["schema"]["default"] = json!(100);
        }
    }
}

fn example(name: &str) -> Option<Value> {
    Some(match name {
        "id" => json!(ID),
        "topic" => json!("process"),
        _ => return None,
    })
}

/// What the schema says besides the type.
fn bounds(name: &str) -> Vec<(&'static str, Value)> {
    match name {
        "page_size" => vec![("default", json!(20))],
        "page" => vec![("minimum", json!(1)), ("maximum", json!(10_000))],
        "cursor" => vec![("pattern", json!("^[A-Za-z0-9_-]{27}$"))],
        "search" | "sku" | "reference" | "action" | "subject" => {
            vec![("pattern", json!(r"^[^\u0000]*$"))]
        }
        "If-Match" | "If-None-Match" => vec![("pattern", json!(TAGS))],
        _ => vec![],
    }
}

/// `*`, or tags with commas between (RFC 9110 §13.1).
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#;
const ID: Uuid = Uuid::from_u128(0x019a_9d3c_4b1e_7c52_9f0a_6b1f_7d2e_8a41);
