//! Moves what several operations have in common into components, so that it is there once.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

/// A kind of component.
#[derive(Clone, Copy)]
enum Kind {
    Headers,
    Responses,
    Parameters,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Responses => "responses",
            Self::Parameters => "parameters",
        }
    }
}

/// Shares headers first: responses are alike when theirs are.
pub(super) fn share(document: &mut Value) {
    for kind in [Kind::Headers, Kind::Responses, Kind::Parameters] {
        share_kind(document, kind);
    }
}

fn share_kind(document: &mut Value, kind: Kind) {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    each(document, kind, |_, value| {
        *uses.entry(value.to_string()).or_default() += 1;
    });
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut shared = Map::new();
    each(document, kind, |name, value| {
        let text = value.to_string();
        if uses.get(&text).is_some_and(|uses| *uses > 1) {
            let name = names.entry(text).or_insert_with(|| {
                let name = unused(name, &shared);
                shared.insert(name.clone(), value.clone());
                name
            });
            *value = json!({"$ref": format!("#/components/{}/{name}", kind.name())});
        }
    });
    document["components"][kind.name()] = Value::Object(shared);
}

/// The name, with a number behind it when it is taken by another component.
fn unused(name: &str, taken: &Map<String, Value>) -> String {
    let numbered = (2..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find(|name| !taken.contains_key(name))
        .unwrap_or_default()
}

/// Passes each part of a kind to `take`, with a name for it.
fn each(document: &mut Value, kind: Kind, mut take: impl FnMut(&str, &mut Value)) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        let part = match kind {
            Kind::Parameters => operation.get_mut("parameters"),
            Kind::Headers | Kind::Responses => operation.get_mut("responses"),
        };
        match (kind, part) {
            (Kind::Parameters, Some(Value::Array(parameters))) => {
                for parameter in parameters {
                    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                    take(&name, parameter);
                }
            }
            (Kind::Responses, Some(Value::Object(responses))) => {
                for (status, response) in responses {
                    take(&title(status), response);
                }
            }
            (Kind::Headers, Some(Value::Object(responses))) => {
                let headers = responses
                    .values_mut()
                    .filter_map(|response| response.get_mut("headers")?.as_object_mut());
                for (name, header) in headers.flatten() {
                    take(name, header);
                }
            }
            _ => {}
        }
    }
}

/// The name of a status, as a name of a component.
fn title(status: &str) -> String {
    let status: Option<StatusCode> = status.parse().ok();
    let reason = status.and_then(|status| status.canonical_reason());
    let words = reason.unwrap_or("Answer");
    words.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_is_moved() {
        let answer = json!({"description": "no", "headers": {"A": {"required": true}}});
        let mut document = json!({"components": {}, "paths": {
            "/a": {"get": {"parameters": [{"name": "p"}], "responses": {"404": answer}}},
            "/b": {"get": {"parameters": [{"name": "p", "in": "x"}], "responses": {"404": answer}}},
            "/c": {"get": {"parameters": [{"name": "p"}, {"name": "p", "in": "x"}]}},
        }});
        share(&mut document);
        let reference = |name: &str| json!({"$ref": format!("#/components/{name}")});
        let paths = &document["paths"];
        assert_eq!(
            paths["/b"]["get"]["parameters"][0],
            reference("parameters/p2")
        );
        assert_eq!(
            paths["/c"]["get"]["parameters"][0],
            reference("parameters/p")
        );
        assert_eq!(
            paths["/a"]["get"]["responses"]["404"],
            reference("responses/NotFound")
        );
        let shared = &document["components"];
        assert_eq!(shared["parameters"]["p2"], json!({"name": "p", "in": "x"}));
        assert_eq!(shared["headers"]["A"], json!({"required": true}));
        assert_eq!(
            shared["responses"]["NotFound"]["headers"]["A"],
            reference("headers/A")
        );
    }
}
