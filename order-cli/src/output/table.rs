//! Tables for people: ids, numbers and times are never broken, numbers stand to the right, times are
//! told in seconds, and spans of time in units. Columns without a value are left out. What does not
//! fit the terminal is told field by field.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets::UTF8_FULL_CONDENSED,
};
use serde_json::Value;

use super::{
    cells::{Column, cell},
    visible::visible,
};

/// A column of text is not made narrower than this.
const LEAST_TEXT: u16 = 12;
/// The border of a cell, and the spaces around what is in it.
const FRAME: u16 = 3;

/// The values of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Id,
    Number,
    Span,
    Text,
    Time,
}

impl Kind {
    fn of((name, pointer): Column, rows: &[Value]) -> Self {
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let mut values = rows.iter().filter_map(|row| row.pointer(pointer));
        if name == "id" || name.ends_with("_id") {
            Self::Id
        } else if name == "at" || ends(&["_at", "_from", "_until"]) {
            Self::Time
        } else if name.ends_with("_seconds") {
            Self::Span
        } else if ends(&["price", "amount"]) || values.any(Value::is_number) {
            Self::Number
        } else {
            Self::Text
        }
    }

    fn cell(self, value: Option<&Value>) -> String {
        let text = match (self, value) {
            (Self::Time, Some(Value::String(time))) => in_seconds(time),
            (Self::Span, Some(Value::Number(seconds))) => seconds.as_f64().map(in_units),
            _ => None,
        };
        let text = text.unwrap_or_else(|| cell(value));
        visible(&text).into_owned()
    }

    const fn alignment(self) -> CellAlignment {
        match self {
            Self::Number | Self::Span => CellAlignment::Right,
            Self::Id | Self::Text | Self::Time => CellAlignment::Left,
        }
    }
}

/// The headings, kinds and cells of the columns that have a value.
struct Shown {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<String>>,
}

impl Shown {
    fn new(columns: &[Column], rows: &[Value]) -> Self {
        let mut shown = Self {
            columns: Vec::new(),
            rows: vec![Vec::new(); rows.len()],
        };
        for (name, pointer) in columns {
            let kind = Kind::of((name, pointer), rows);
            let cells: Vec<String> = rows
                .iter()
                .map(|row| kind.cell(row.pointer(pointer)))
                .collect();
            if cells.iter().all(String::is_empty) && !rows.is_empty() {
                continue;
            }
            shown
                .columns
                .push((name.trim_end_matches("_seconds"), kind));
            for (row, cell) in shown.rows.iter_mut().zip(cells) {
                row.push(cell);
            }
        }
        shown
    }
}

/// Rows as a table of at most `width` characters, if the terminal has one, or else as fields.
pub(super) fn rows(columns: &[Column], rows: &[Value], width: Option<u16>) -> String {
    let shown = Shown::new(columns, rows);
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(shown.columns.iter().map(|(name, _)| *name));
    table.add_rows(&shown.rows);
    let widths = table.column_max_content_widths();
    let mut least = 1;
    let kinds = shown.columns.iter().map(|(_, kind)| *kind);
    for ((column, kind), content) in table.column_iter_mut().zip(kinds).zip(widths) {
        column.set_cell_alignment(kind.alignment());
        let needs = match kind {
            Kind::Text => content.min(LEAST_TEXT),
            _ => content,
        };
        column.set_constraint(match kind {
            Kind::Text => ColumnConstraint::LowerBoundary(Width::Fixed(needs)),
            _ => ColumnConstraint::ContentWidth,
        });
        least += needs + FRAME;
    }
    match width {
        Some(width) if least > width && !rows.is_empty() => fields_of(&shown),
        Some(width) => table.set_width(width).to_string(),
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.to_string()
        }
    }
}

/// One row, field by field.
pub(super) fn fields(columns: &[Column], row: &Value) -> String {
    fields_of(&Shown::new(columns, std::slice::from_ref(row)))
}

fn fields_of(shown: &Shown) -> String {
    let longest = shown.columns.iter().map(|(name, _)| name.len()).max();
    let longest = longest.unwrap_or_default();
    let row = |row: &Vec<String>| {
        let fields = shown.columns.iter().zip(row);
        let fields = fields.filter(|(_, cell)| !cell.is_empty());
        let lines: Vec<String> = fields
            .map(|((name, _), cell)| format!("{name:longest$}  {cell}"))
            .collect();
        lines.join("\n")
    };
    let rows: Vec<String> = shown.rows.iter().map(row).collect();
    rows.join("\n\n")
}

/// A time without fractions of its second.
fn in_seconds(time: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(time).ok()?.to_utc();
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A span of time in its two largest units, or with one decimal.
fn in_units(seconds: f64) -> String {
    // As a span is shown: no part of a second matters beside a minute.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds as u64;
    match whole {
        0 if seconds == 0.0 => "0 s".to_owned(),
        0 => format!("{:.0} ms", seconds * 1e3),
        1..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        ("id", "/id"),
        ("name", "/name"),
        ("price", "/price"),
        ("stock", "/stock"),
        ("note", "/note"),
        ("age_seconds", "/age_seconds"),
        ("created_at", "/created_at"),
    ];

    fn lamps() -> Vec<Value> {
        let lamp = |name: &str, price: &str, stock: i64, age: f64| {
            json!({
                "id": "019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41", "name": name, "price": price,
                "stock": stock, "note": null, "age_seconds": age,
                "created_at": "2026-11-27T08:00:00.123456Z",
            })
        };
        vec![
            lamp(
                "A lamp that shines all night, and then some",
                "19.99",
                5,
                2.5,
            ),
            lamp("Lamp", "1200.00", 12_000, 93_784.0),
        ]
    }

    #[test]
    fn numbers_stand_to_the_right_times_have_seconds_and_spans_units() {
        let table = rows(COLUMNS, &lamps(), Some(110));
        let expected = "\
┌──────────────────────────────────────┬──────────────────┬─────────┬───────┬─────────┬──────────────────────┐
│ id                                   ┆ name             ┆   price ┆ stock ┆     age ┆ created_at           │
╞══════════════════════════════════════╪══════════════════╪═════════╪═══════╪═════════╪══════════════════════╡
│ 019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41 ┆ A lamp that      ┆   19.99 ┆     5 ┆   2.5 s ┆ 2026-11-27T08:00:00Z │
│                                      ┆ shines all       ┆         ┆       ┆         ┆                      │
│                                      ┆ night, and then  ┆         ┆       ┆         ┆                      │
│                                      ┆ some             ┆         ┆       ┆         ┆                      │
│ 019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41 ┆ Lamp             ┆ 1200.00 ┆ 12000 ┆ 1 d 2 h ┆ 2026-11-27T08:00:00Z │
└──────────────────────────────────────┴──────────────────┴─────────┴───────┴─────────┴──────────────────────┘";
        assert_eq!(table, expected, "\n{table}");
    }

    #[test]
    fn what_does_not_fit_is_told_field_by_field() {
        let told = rows(COLUMNS, &lamps()[..1], Some(80));
        let expected = "\
id          019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41
name        A lamp that shines all night, and then some
price       19.99
stock       5
age         2.5 s
created_at  2026-11-27T08:00:00Z";
        assert_eq!(told, expected, "\n{told}");
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_and_no_id_is_broken() {
        for width in 100..140 {
            let table = rows(COLUMNS, &lamps(), Some(width));
            for line in table.lines() {
                assert!(
                    line.chars().count() <= usize::from(width),
                    "{width}:\n{table}"
                );
            }
            assert_eq!(
                table
                    .matches("019a9d3c-4b1e-7c52-9f0a-6b1f7d2e8a41")
                    .count(),
                2
            );
        }
        let unbroken = rows(COLUMNS, &lamps(), None);
        assert!(
            unbroken.contains("A lamp that shines all night, and then some"),
            "{unbroken}"
        );
    }

    #[test]
    fn spans_are_told_in_units() {
        let told = [0.0, 0.0042, 59.94, 61.0, 3_700.0, 90_000.0].map(in_units);
        assert_eq!(
            told,
            ["0 s", "4 ms", "59.9 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
        );
    }
}
