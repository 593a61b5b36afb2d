//! Describes the headers of each answer.

use serde_json::{Map, Value, json};

use super::operation::Operation;

/// The name, description and example of each header.
const HEADERS: [(&str, &str, &str); 11] = [
    (
        "Location",
        "URL of what was created",
        "/api/v1/products/019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41",
    ),
    (
        "ETag",
        "Version of the product or the order, for `If-Match` and `If-None-Match`",
        "\"1\"",
    ),
    (
        "X-Cache",
        "Whether the cache had the product: `hit`, `miss`, or `bypass` if it was not asked",
        "hit",
    ),
    (
        "Preference-Applied",
        "The longest wait, if `Prefer` asked for one",
        "wait=5",
    ),
    (
        "Idempotent-Replayed",
        "`true` if an earlier request with the same `Idempotency-Key` did it, and this one \
         changed nothing",
        "true",
    ),
    (
        "X-Request-Id",
        "Id of the request in the log; the client's own if it sent one",
        "019a9d3c-6f00-7b3a-a1d4-0c5e8b7f9a26",
    ),
    ("Retry-After", "Seconds after which to try again", "1"),
    ("WWW-Authenticate", "The scheme for API keys", "Bearer"),
    (
        "RateLimit",
        "Requests that are left (`r`), and seconds until there is one more (`t`); only with a \
         rate limit",
        "\"default\";r=99;t=1",
    ),
    (
        "RateLimit-Policy",
        "Requests that may come at once (`q`), and seconds until as many may come again (`w`); \
         only with a rate limit",
        "\"default\";q=100;w=1",
    ),
    (
        "Cache-Control",
        "Whether caches may keep the answer",
        "no-store",
    ),
];

/// Describes the headers of each answer, those that all answers have included.
pub(super) fn complete(operation: &mut Operation<'_>) {
    let is_counted = !operation.path.contains("/health");
    for (status, response) in operation.responses.iter_mut() {
        let mut names = named(response);
        names.extend(["X-Request-Id", "Cache-Control"].map(|name| (name, true)));
        match status.as_str() {
            "401" => names.push(("WWW-Authenticate", true)),
            "429" | "503" => names.push(("Retry-After", true)),
            _ => {}
        }
        if is_counted {
            names.extend(["RateLimit", "RateLimit-Policy"].map(|name| (name, status == "429")));
        }
        let headers: Map<String, Value> = names
            .into_iter()
            .filter_map(|(name, is_required)| Some((name.to_owned(), header(name, is_required)?)))
            .collect();
        response["headers"] = Value::Object(headers);
    }
}

/// The headers that the code of the operation names, and whether they are always there.
fn named(response: &Value) -> Vec<(&'static str, bool)> {
    let named = response["headers"].as_object();
    let known = |name: &String| {
        HEADERS
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
    };
    named
        .into_iter()
        .flatten()
        .filter_map(|(name, header)| Some((known(name)?.0, header["required"] == true)))
        .collect()
}

fn header(name: &str, is_required: bool) -> Option<Value> {
    let (_, description, example) = HEADERS.iter().find(|(known, ..)| *known == name)?;
    let ty = if name == "Retry-After" {
        "integer"
    } else {
        "string"
    };
    let example = match example.parse::<u32>() {
        Ok(number) if ty == "integer" => json!(number),
        _ => json!(example),
    };
    Some(json!({
        "description": description,
        "required": is_required,
        "schema": {"type": ty},
        "example": example,
    }))
}
