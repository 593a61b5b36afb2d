//! The routes of the API with the methods that each answers, read from its description.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The route of a path that leads nowhere.
const UNMATCHED: &str = "unmatched";
/// The methods of a path that is not described: all of these are pages to read.
const READ: &str = "GET, HEAD";

/// The part of an OpenAPI document that names paths and their methods.
#[derive(Deserialize)]
struct Document {
    paths: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The paths of the API, those without parameters first, each with its methods.
#[derive(Default)]
pub(crate) struct ApiRoutes(Vec<(String, String)>);

impl ApiRoutes {
    /// The routes that an OpenAPI document describes.
    pub(crate) fn described(document: &str) -> Self {
        let paths = serde_json::from_str(document).map_or_else(
            |error| {
                tracing::error!(%error, "the description of the API cannot be read");
                BTreeMap::new()
            },
            |document: Document| document.paths,
        );
        let methods = |(path, item): (String, BTreeMap<String, Value>)| (path, names(&item));
        let mut paths: Vec<_> = paths.into_iter().map(methods).collect();
        paths.sort_by_key(|(path, _)| path.matches('{').count());
        Self(paths)
    }

    /// The methods that `path` answers, with commas between.
    pub(super) fn methods(&self, path: &str) -> &str {
        self.find(path).map_or(READ, |(_, methods)| methods)
    }

    /// The route of `path`: as it is described; as the router `matched` it, where it is not;
    /// and one for all that leads nowhere.
    pub(super) fn route<'a>(&'a self, path: &str, matched: Option<&'a str>) -> &'a str {
        let described = self.find(path).map(|(pattern, _)| pattern.as_str());
        described.or(matched).unwrap_or(UNMATCHED)
    }

    fn find(&self, path: &str) -> Option<&(String, String)> {
        self.0.iter().find(|(pattern, _)| matches(pattern, path))
    }
}

/// A path that answers GET answers HEAD.
fn names(item: &BTreeMap<String, Value>) -> String {
    let mut names: Vec<String> = item.keys().map(|name| name.to_uppercase()).collect();
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
