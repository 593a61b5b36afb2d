//! Reads JSON, and tells in the words of the API what is wrong with it: which field, and what it
//! must be. No type of the program is named.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::problem::{Problem, clipped};

/// The mark that some programs put before a text in UTF-8. It says nothing here, and may be ignored
/// (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a value. When that fails, reads again to find the field that is wrong.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let error = match serde_json::from_slice::<T>(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let not_json = |error| Problem::malformed(format!("body is not JSON: {error}"));
    if error.classify() == Category::Eof {
        return Err(not_json(error));
    }
    // A value that does not fit is found before a mistake that follows it.
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return Err(not_json(error));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(value) => Ok(value),
        Err(error) => {
            let (field, reason) = field_and_reason(&error);
            Err(Problem::invalid(&field, &reason))
        }
    }
}

/// What serde says of a field that it names by itself, and what the answer says.
const NAMED: [(&str, &str); 3] = [
    ("missing field `", "is missing"),
    ("unknown field `", "is unknown"),
    ("duplicate field `", "is given twice"),
];

/// The field that an error is about. For a missing, unknown or repeated one, serde gives the path of
/// the object around it, and the name in its message.
fn field_and_reason(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let message = error.inner().to_string();
    // A position helps nobody who does not see the bytes.
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(message, _)| message);
    for (start, reason) in NAMED {
        // The name is the client's, and may hold a quote; those that are expected are ours.
        let named = message.strip_prefix(start).and_then(|rest| {
            let rest = rest
                .rsplit_once(", expected")
                .map_or(rest, |(name, _)| name);
            rest.rsplit_once('`')
        });
        if let Some((name, _)) = named {
            let inside = path.strip_suffix(name).unwrap_or(&path);
            let dot = if inside.is_empty() || inside.ends_with('.') {
                ""
            } else {
                "."
            };
            return (format!("{inside}{dot}{name}"), reason.to_owned());
        }
    }
    let field = if path.is_empty() {
        "body".to_owned()
    } else {
        path
    };
    (field, reason(message))
}

/// What the value must be, where serde says which type of the program it expected.
fn reason(message: &str) -> String {
    let is_of_type = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .any(|start| message.starts_with(start));
    if message.starts_with("UUID parsing failed") {
        return "must be a UUID".to_owned();
    }
    if message.starts_with("number out of range") {
        return "is too large a number".to_owned();
    }
    if !is_of_type {
        return clipped(message).into_owned();
    }
    let expected = message.rsplit_once(", expected ");
    let expected = expected.map_or("", |(_, expected)| expected);
    let words = match expected {
        "a string" | "a borrowed string" => "must be a string",
        "a sequence" => "must be an array",
        "a boolean" => "must be true or false",
        "a map" => "must be an object",
        _ if expected.starts_with("struct ") => "must be an object",
        _ if expected.contains("UUID") => "must be a UUID",
        _ => "has a value of another type than is expected",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only read.
    struct Thing {
        name: String,
    }

    #[test]
    fn names_of_clients_are_told_as_they_are() {
        for (body, told) in [
            (r#"{"a`b": 1}"#, "a`b is unknown"),
            (r#"{"a`, expected b": 1}"#, "a`, expected b is unknown"),
            (r#"{"a at line 7": 1}"#, "a at line 7 is unknown"),
            (r#"{"name": "x", "name": "y"}"#, "name is given twice"),
            (r#"{"name": [" at line 3"]}"#, "name must be a string"),
        ] {
            let problem = parse::<Thing>(body.as_bytes()).unwrap_err().into_body();
            let problem = serde_json::to_value(problem).unwrap();
            assert_eq!(problem["detail"], told, "{body}");
        }
    }
}
