//! An operation of the document, with the facts that the rules need.

use serde_json::{Map, Value};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// One operation, with its answers to complete.
pub(super) struct Operation<'a> {
    pub(super) path: &'a str,
    /// In lower case.
    pub(super) method: &'a str,
    /// Its name.
    pub(super) id: String,
    /// Tells whether it may require a key.
    pub(super) is_secured: bool,
    pub(super) has_body: bool,
    parameters: Vec<Parameter>,
    /// By status.
    pub(super) responses: &'a mut Map<String, Value>,
}

struct Parameter {
    name: String,
    /// `path`, `query` or `header`.
    place: String,
}

/// All operations of a document.
pub(super) fn all(document: &mut Value) -> impl Iterator<Item = Operation<'_>> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter().flatten();
        methods
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .filter_map(|(method, described)| Operation::of(path, method, described))
    })
}

/// The parameters of all operations.
pub(super) fn parameters(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    operations
        .filter_map(|(_, described)| described.get_mut("parameters")?.as_array_mut())
        .flatten()
}

/// The request bodies of all operations.
pub(super) fn bodies(document: &Value) -> impl Iterator<Item = Value> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, methods)| methods.as_object().into_iter().flatten());
    operations.filter_map(|(_, described)| described.get("requestBody").cloned())
}

impl<'a> Operation<'a> {
    fn of(path: &'a str, method: &'a str, described: &'a mut Value) -> Option<Self> {
        let parameters = described["parameters"].as_array().into_iter().flatten();
        Some(Self {
            path,
            method,
            id: text(&described["operationId"]),
            is_secured: described.get("security").is_some(),
            has_body: described.get("requestBody").is_some(),
            parameters: parameters.map(Parameter::of).collect(),
            responses: described["responses"].as_object_mut()?,
        })
    }

    pub(super) fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|each| each.name == name)
    }

    pub(super) fn has_parameter_in(&self, place: &str) -> bool {
        self.parameters.iter().any(|each| each.place == place)
    }
}

impl Parameter {
    fn of(described: &Value) -> Self {
        Self {
            name: text(&described["name"]),
            place: text(&described["in"]),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
