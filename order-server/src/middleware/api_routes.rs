//! The routes of the API with what each takes, read from its description: methods and parameters.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::parameter_words::{resolved, words};

/// The route of a path that leads nowhere.
const UNMATCHED: &str = "unmatched";
/// The methods of a path that is not described: all of these are pages to read.
const READ: &str = "GET, HEAD";

/// The part of an OpenAPI document that names paths and what they take.
#[derive(Deserialize)]
struct Document {
    paths: BTreeMap<String, BTreeMap<String, Operation>>,
    #[serde(default)]
    components: Value,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    parameters: Vec<Value>,
    #[serde(default)]
    security: Vec<Value>,
}

/// A parameter of an operation.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) is_in_query: bool,
    pub(super) is_in_path: bool,
    /// What it must be.
    pub(super) words: String,
}

impl Parameter {
    fn of(described: &Value, components: &Value) -> Self {
        Self {
            name: described["name"].as_str().unwrap_or_default().to_owned(),
            is_in_query: described["in"] == "query",
            is_in_path: described["in"] == "path",
            words: words(&described["schema"], components),
        }
    }
}

/// What an operation takes.
pub(super) struct KnownOperation {
    pub(super) parameters: Vec<Parameter>,
    pub(super) needs_key: bool,
}

/// A path of the API.
struct ApiRoute {
    pattern: String,
    /// The methods that it answers, with commas between.
    methods: String,
    /// The operations by method.
    operations: BTreeMap<String, KnownOperation>,
}

/// The paths of the API, those without parameters first.
#[derive(Default)]
pub(crate) struct ApiRoutes(Vec<ApiRoute>);

impl ApiRoutes {
    /// The routes that an OpenAPI document describes.
    pub(crate) fn described(document: &str) -> Self {
        let Document { paths, components } = match serde_json::from_str(document) {
            Ok(document) => document,
            Err(error) => {
                tracing::error!(%error, "the description of the API cannot be read");
                return Self::default();
            }
        };
        let known = |(method, operation): (String, Operation)| {
            let all = operation.parameters.iter();
            let all =
                all.map(|described| Parameter::of(resolved(described, &components), &components));
            let operation = KnownOperation {
                parameters: all.collect(),
                needs_key: !operation.security.is_empty(),
            };
            (method.to_uppercase(), operation)
        };
        let route = |(pattern, item): (String, BTreeMap<String, Operation>)| ApiRoute {
            pattern,
            methods: names(item.keys()),
            operations: item.into_iter().map(known).collect(),
        };
        let mut routes: Vec<ApiRoute> = paths.into_iter().map(route).collect();
        routes.sort_by_key(|route| route.pattern.matches('{').count());
        Self(routes)
    }

    /// The methods that `path` answers, with commas between.
    pub(super) fn methods(&self, path: &str) -> &str {
        self.find(path).map_or(READ, |route| &route.methods)
    }

    /// The operation at `path`, if there is one. HEAD is that of GET.
    pub(super) fn operation(&self, path: &str, method: &str) -> Option<&KnownOperation> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.find(path)?.operations.get(method)
    }

    /// The parameters of the operation at `path`, if there is one.
    pub(super) fn parameters(&self, path: &str, method: &str) -> Option<&[Parameter]> {
        let operation = self.operation(path, method);
        operation.map(|operation| operation.parameters.as_slice())
    }

    /// The route of `path`: as it is described; as the router `matched` it, where it is not;
    /// and one for all that leads nowhere.
    pub(super) fn route<'a>(&'a self, path: &str, matched: Option<&'a str>) -> &'a str {
        let described = self.find(path).map(|route| route.pattern.as_str());
        let matched = matched.map(|path| match path.trim_end_matches('/') {
            "" => path,
            trimmed => trimmed,
        });
        described.or(matched).unwrap_or(UNMATCHED)
    }

    fn find(&self, path: &str) -> Option<&ApiRoute> {
        self.0.iter().find(|route| matches(&route.pattern, path))
    }
}

/// A path that answers GET answers HEAD.
fn names<'a>(methods: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<String> = methods.map(|name| name.to_uppercase()).collect();
    if let Some(at) = names.iter().position(|name| name == "GET") {
        names.insert(at + 1, "HEAD".to_owned());
    }
    names.join(", ")
}

/// Tells whether a path matches `pattern`, whose `{parameters}` stand for one segment each.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern
            .zip(path)
            .all(|(pattern, part)| pattern.starts_with('{') || pattern == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_path_are_those_of_the_nearest_pattern() {
        let routes = ApiRoutes::described(
            r#"{"openapi": "3.0.0", "paths": {
                "/o/{id}": {"get": {}, "put": {}}, "/o/buy": {"post": {}},
                "/o/{id}/x": {"delete": {}}}}"#,
        );
        for (matched, route) in [
            (Some("/health/"), "/health"),
            (Some("/"), "/"),
            (None, UNMATCHED),
        ] {
            assert_eq!(routes.route("/elsewhere", matched), route, "{matched:?}");
        }
        for (path, allowed) in [
            ("/o/1", "GET, HEAD, PUT"),
            ("/o/buy", "POST"),
            ("/o/1/x", "DELETE"),
            ("/docs", READ),
            ("/o/1/y", READ),
        ] {
            assert_eq!(routes.methods(path), allowed, "{path}");
        }
    }
}
