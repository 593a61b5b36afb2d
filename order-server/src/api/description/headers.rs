//! Which headers an answer bears.

use serde_json::{Map, Value, json};

use super::operation::Operation;

/// What each header says, with an example.
const HEADERS: [(&str, &str, &str); 11] = [
    (
        "Location",
        "Where the thing is that was made",
        "/api/v1/products/019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41",
    ),
    (
        "ETag",
        "Names this version of the product: for `If-Match` and `If-None-Match`",
        "\"1\"",
    ),
    (
        "X-Cache",
        "Whether the cache had it: `hit`, `miss`, or `bypass` when the cache was passed by",
        "hit",
    ),
    (
        "Preference-Applied",
        "How long was waited for at most, when `Prefer` asked for it",
        "wait=5",
    ),
    (
        "Idempotent-Replayed",
        "`true` when an earlier request with the same `Idempotency-Key` did it, and nothing was \
         done now",
        "true",
    ),
    (
        "X-Request-Id",
        "Names the request in the log; the client's own where it gave one",
        "019a9d3c-6f00-7b3a-a1d4-0c5e8b7f9a26",
    ),
    ("Retry-After", "Seconds after which to come back", "1"),
    ("WWW-Authenticate", "How to show a key", "Bearer"),
    (
        "RateLimit",
        "How many requests are left (`r`), and seconds until there is one more (`t`); only \
         where rates are limited",
        "\"default\";r=99;t=1",
    ),
    (
        "RateLimit-Policy",
        "How many requests may come at once (`q`), and after how many seconds as many again \
         (`w`); only where rates are limited",
        "\"default\";q=100;w=1",
    ),
    ("Cache-Control", "Who may keep the answer", "no-store"),
];

/// Names the headers of each answer as they are written, and adds those that are of all.
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

/// Those that the operation's code names, and whether they are always there.
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
