//! The last touches: what readers and generators of clients expect of every operation, and groups in
//! the order in which somebody reads them.

use serde_json::{Value, json};

/// The groups, those first that a newcomer needs first.
const TAGS: [&str; 4] = ["Products", "Orders", "Operations", "Health"];

pub(super) fn finish(document: &mut Value) {
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
