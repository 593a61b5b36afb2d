//! Results as a table for people, or as JSON or CSV for programs.
//!
//! Names and references come from clients. What a terminal would obey in them is written out in
//! tables, in CSV on a terminal, in messages and questions ([`mod@visible`]), and in JSON in the way of
//! JSON. CSV in a file or a pipe has every character as it is.

mod cells;
mod table;
mod visible;

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use cells::visible_cells;
pub(crate) use cells::{Column, cells};
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
                let table = table::rows(columns, &rows, self.width());
                writeln!(out, "{table}")?;
            }
        }
        Ok(())
    }

    /// The width of the terminal.
    fn width(&self) -> Option<u16> {
        self.terminal.then(|| comfy_table::Table::new().width())?
    }

    /// Tells whether people read the results.
    pub(crate) fn is_for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints one result field by field for people, and as [`row`](Self::row) does for programs.
    pub(crate) fn fields<T: Serialize>(&self, columns: &[Column], row: T) -> anyhow::Result<()> {
        if !self.is_for_people() {
            return self.row(columns, row);
        }
        let fields = table::fields(columns, &serde_json::to_value(row)?);
        whole(format!("{fields}\n").as_bytes())
    }

    /// Prints rows that belong to what was printed before, if there are any, under a title.
    pub(crate) fn section<T: Serialize>(
        &self,
        title: &str,
        columns: &[Column],
        rows: &[T],
    ) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        whole(format!("\n{title}\n").as_bytes())?;
        self.rows(columns, rows)
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
