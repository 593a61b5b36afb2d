//! The rows of a CSV file, each with its line number, by which a wrong row is reported.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use csv::{Position, StringRecord, Trim};
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::progress;

/// The column of a file of rejected rows that says why. Reading such a file passes it by.
pub(super) const REASON: &str = "rejected_because";

/// The first line of a file is looked for in so many bytes.
const MOST_HEADER_BYTES: usize = 64 * 1024;

/// How a CSV file is read, and where its wrong rows go.
#[derive(Args, Clone, Debug)]
pub(crate) struct CsvArgs {
    /// Character between the cells of the file, or `tab`; the first line tells unless given
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Write the rejected rows to this CSV file, each with the reason. Corrected, it can be read like
    /// the first one
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err("must be one character, such as ; or tab".to_owned()),
    }
}

/// A row of the file, as it stands there and as it is read.
pub(super) struct Row<T> {
    pub(super) line: u64,
    pub(super) cells: StringRecord,
    pub(super) value: Result<T, String>,
}

/// A file that is being read.
pub(super) struct CsvFile<T> {
    pub(super) rows: Box<dyn Iterator<Item = Row<T>>>,
    pub(super) headers: StringRecord,
    pub(super) delimiter: u8,
    /// Shows how much of it was read.
    pub(super) progress: ProgressBar,
}

impl<T> CsvFile<T> {
    /// Tells whether the file has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.headers.iter().any(|name| normal(name) == column)
    }
}

/// The columns that a file may have, and those of each group of which it must have one.
pub(super) struct Columns {
    pub(super) known: &'static [&'static str],
    pub(super) needed: &'static [&'static [&'static str]],
    /// Spaces around cells do not belong to them.
    pub(super) trim: bool,
}

/// Reads `file` (`-` for standard input). Its first line names the columns, in any case.
pub(super) fn read<T: DeserializeOwned + 'static>(
    file: &Path,
    args: &CsvArgs,
    columns: &Columns,
) -> anyhow::Result<CsvFile<T>> {
    let (input, progress) = progress::open(file)?;
    let (input, first) = with_first_line(input)?;
    let delimiter = args.delimiter.unwrap_or_else(|| detected(&first));
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(if columns.trim {
            Trim::All
        } else {
            Trim::Headers
        })
        .from_reader(input);
    let headers = csv.headers().context("cannot read the first line")?.clone();
    check(&headers, columns).with_context(|| file.display().to_string())?;
    Ok(CsvFile {
        rows: rows(csv, headers.iter().map(normal).collect()),
        headers,
        delimiter,
        progress,
    })
}

/// The name of a column as it is compared.
fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

fn check(headers: &StringRecord, columns: &Columns) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for name in headers.iter().map(normal) {
        let is_known = columns.known.contains(&name.as_str()) || name == REASON;
        let known = columns.known.join(", ");
        ensure!(is_known, "unknown column {name:?}; known are {known}");
        ensure!(seen.insert(name.clone()), "column {name} is there twice");
    }
    for group in columns.needed {
        ensure!(
            group.iter().any(|name| seen.contains(*name)),
            "column {} is missing",
            group.join(" or ")
        );
    }
    Ok(())
}

/// The input with its first line, which is read ahead.
fn with_first_line(input: Box<dyn Read>) -> anyhow::Result<(Box<dyn Read>, String)> {
    let mut input = BufReader::with_capacity(MOST_HEADER_BYTES, input);
    let mut first = Vec::new();
    let mut begin = input.by_ref().take(MOST_HEADER_BYTES as u64);
    begin
        .read_until(b'\n', &mut first)
        .context("cannot read the first line")?;
    if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
        bail!("the file is UTF-16; save it as CSV in UTF-8");
    }
    let text = String::from_utf8_lossy(&first).into_owned();
    Ok((Box::new(Cursor::new(first).chain(input)), text))
}

/// The delimiter of a line with the names of columns: the one that is there most often.
fn detected(first: &str) -> u8 {
    let count = |delimiter: &u8| first.bytes().filter(|byte| byte == delimiter).count();
    // The last of equal ones counts.
    let all = [b'\t', b';', b','];
    all.into_iter().max_by_key(count).unwrap_or(b',')
}

fn rows<T: DeserializeOwned + 'static>(
    csv: csv::Reader<Box<dyn Read>>,
    names: StringRecord,
) -> Box<dyn Iterator<Item = Row<T>>> {
    Box::new(
        csv.into_byte_records()
            .enumerate()
            .map(move |(at, record)| {
                // The first line has the names; a record knows better where it stands.
                let counted = at as u64 + 2;
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        return Row {
                            line: error.position().map_or(counted, Position::line),
                            cells: StringRecord::new(),
                            value: Err(error.to_string()),
                        };
                    }
                };
                let line = record.position().map_or(counted, Position::line);
                let is_text = record.iter().all(|cell| std::str::from_utf8(cell).is_ok());
                let cells = StringRecord::from_byte_record_lossy(record);
                let value = if !is_text {
                    Err("is not UTF-8".to_owned())
                } else if cells.len() != names.len() {
                    let (has, names) = (cells.len(), names.len());
                    Err(format!("has {has} cells, and the first line has {names}"))
                } else {
                    cells
                        .deserialize(Some(&names))
                        .map_err(|error| error.to_string())
                };
                Row { line, cells, value }
            }),
    )
}

/// Tells whether two paths lead to one file.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}

/// The hash of a file's content, in hexadecimal digits.
pub(super) fn hash(file: &Path) -> anyhow::Result<String> {
    let read = || {
        let mut file = BufReader::new(File::open(file)?);
        let mut hash = Sha256::new();
        loop {
            let part = file.fill_buf()?;
            if part.is_empty() {
                break io::Result::Ok(hash.finalize());
            }
            hash.update(part);
            let length = part.len();
            file.consume(length);
        }
    };
    let hash = read().with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
