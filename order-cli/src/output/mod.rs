//! Results as a table for people, or as JSON or CSV for programs.
//!
//! Names and references come from clients. What a terminal would obey in them is written out in
//! tables, in CSV on a terminal, in messages and questions ([`mod@visible`]), and in JSON in the way of
//! JSON. CSV in a file or a pipe has every character as it is.

mod visible;

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use serde_json::Value;

pub(crate) use visible::visible;

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Table,
    /// One JSON object per line
    Json,
    /// CSV with a line of headings
    Csv,
}

/// Prints results to standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    asked: Option<Format>,
    terminal: bool,
}

/// The name of a column, and the pointer to its value in the JSON of a row (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

impl Output {
    pub(crate) fn new(format: Option<Format>) -> Self {
        let terminal = io::stdout().is_terminal();
        let default = if terminal {
            Format::Table
        } else {
            Format::Json
        };
        Self {
            format: format.unwrap_or(default),
            asked: format,
            terminal,
        }
    }

    /// The cells of a row of CSV on standard output.
    pub(crate) fn csv_cells(&self, columns: &[Column], row: &Value) -> Vec<String> {
        if self.terminal {
            visible_cells(columns, row)
        } else {
            cells(columns, row)
        }
    }

    /// Prints rows: their given columns in tables and CSV, the whole rows as JSON.
    pub(crate) fn rows<T: Serialize>(&self, columns: &[Column], rows: &[T]) -> anyhow::Result<()> {
        unless_closed(self.print(columns, rows))
    }

    fn print<T: Serialize>(&self, columns: &[Column], rows: &[T]) -> anyhow::Result<()> {
        let rows = rows
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<Vec<Value>, _>>()?;
        let names = columns.iter().map(|(name, _)| *name);
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                for row in &rows {
                    json_line(&mut out, row)?;
                }
            }
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(names)?;
                for row in &rows {
                    csv.write_record(self.csv_cells(columns, row))?;
                }
                csv.flush()?;
            }
            Format::Table => {
                let mut table = Table::new();
                table
                    .load_style(UTF8_FULL_CONDENSED)
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_header(names);
                for row in &rows {
                    table.add_row(visible_cells(columns, row));
                }
                writeln!(out, "{table}")?;
            }
        }
        Ok(())
    }

    /// The format that was asked for.
    pub(crate) const fn asked(&self) -> Option<Format> {
        self.asked
    }

    /// Prints rows one by one, each at once. A table has no borders then.
    pub(crate) fn live(&self, columns: &'static [Column]) -> Live {
        Live {
            output: *self,
            columns,
            is_begun: false,
        }
    }

    /// Prints one result.
    pub(crate) fn row<T: Serialize>(&self, columns: &[Column], row: T) -> anyhow::Result<()> {
        self.rows(columns, &[row])
    }
}

/// Prints rows one by one.
pub(crate) struct Live {
    output: Output,
    columns: &'static [Column],
    is_begun: bool,
}

impl Live {
    /// Prints a row. Returns false when the output is closed.
    pub(crate) fn row<T: Serialize>(&mut self, row: &T) -> anyhow::Result<bool> {
        unless_closed(self.print(row).map(|()| true))
    }

    fn print<T: Serialize>(&mut self, row: &T) -> anyhow::Result<()> {
        let row = serde_json::to_value(row)?;
        let mut out = io::stdout().lock();
        match self.output.format {
            Format::Json => json_line(&mut out, &row)?,
            Format::Table => writeln!(out, "{}", visible_cells(self.columns, &row).join("  "))?,
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(&mut out);
                if !self.is_begun {
                    csv.write_record(self.columns.iter().map(|(name, _)| *name))?;
                }
                csv.write_record(self.output.csv_cells(self.columns, &row))?;
                csv.flush()?;
            }
        }
        self.is_begun = true;
        Ok(out.flush()?)
    }
}

/// Prints a whole text; a reader that wants only the beginning gets that.
pub(crate) fn whole(text: &[u8]) -> anyhow::Result<()> {
    let print = || {
        let mut out = io::stdout().lock();
        out.write_all(text)?;
        out.flush()
    };
    unless_closed(print().context("cannot write to standard output"))
}

/// One JSON value as a line.
pub(crate) fn json_line(out: &mut impl Write, row: &Value) -> io::Result<()> {
    writeln!(out, "{}", visible::json(row))
}

/// A row's values as a terminal may show them.
fn visible_cells(columns: &[Column], row: &Value) -> Vec<String> {
    let cells = cells(columns, row).into_iter();
    cells.map(|cell| visible(&cell).into_owned()).collect()
}

/// A row's values in the order of its columns, as CSV has them.
pub(crate) fn cells(columns: &[Column], row: &Value) -> Vec<String> {
    let cell = |(_, pointer): &Column| cell(row.pointer(pointer));
    columns.iter().map(cell).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let cells: Vec<String> = items.iter().map(|item| self::cell(Some(item))).collect();
            cells.join(" ")
        }
        Some(other) => other.to_string(),
    }
}

/// Treats a closed output as success, as a reader such as `head` expects. The changes of the command
/// and its exit code stand.
pub(crate) fn unless_closed<T: Default>(result: anyhow::Result<T>) -> anyhow::Result<T> {
    let is_closed = |error: &anyhow::Error| {
        error.chain().any(|cause| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        })
    };
    result.or_else(|error| {
        if is_closed(&error) {
            Ok(T::default())
        } else {
            Err(error)
        }
    })
}
