//! The cells of a row.

use serde_json::Value;

use super::visible::visible;

/// The name of a column, and the pointer to its value in the JSON of a row (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// A row's values as a terminal may show them.
pub(super) fn visible_cells(columns: &[Column], row: &Value) -> Vec<String> {
    let cells = cells(columns, row).into_iter();
    cells.map(|cell| visible(&cell).into_owned()).collect()
}

/// A row's values in the order of its columns, as CSV has them.
pub(crate) fn cells(columns: &[Column], row: &Value) -> Vec<String> {
    let values = columns.iter().map(|(_, pointer)| row.pointer(pointer));
    values.map(cell).collect()
}

pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let cells: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            cells.join(" ")
        }
        Some(other) => other.to_string(),
    }
}
