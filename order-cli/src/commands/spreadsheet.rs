//! Cells of CSV that no spreadsheet takes for a formula.
//!
//! An apostrophe stands before a cell that would be one, and the last column names the columns in
//! which one does. So a row says itself how it is read: also an apostrophe that belongs to a name
//! stays.

/// The column that names the guarded ones of its row, with spaces between them.
pub(super) const COLUMN: &str = "guarded";

/// What a spreadsheet may take for the beginning of a formula, full width included.
const BEGINNINGS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Guards the cells that need it; gives their columns.
pub(super) fn guard<'a>(columns: impl Iterator<Item = &'a str>, cells: &mut [String]) -> String {
    let mut guarded = Vec::new();
    for (column, cell) in columns.zip(cells) {
        if cell.starts_with(BEGINNINGS) {
            cell.insert(0, '\'');
            guarded.push(column);
        }
    }
    guarded.join(" ")
}

/// Takes the guard off a cell, if `guarded` names its column and a spreadsheet left it there.
pub(super) fn unguarded(guarded: &str, column: &str, cell: &mut String) {
    let is_guarded = guarded.split_whitespace().any(|name| name == column);
    if is_guarded && cell.starts_with('\'') {
        cell.remove(0);
    }
}
