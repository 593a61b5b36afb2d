//! The rows of a CSV file, each with its line number, by which a wrong row is reported.

use std::{io::Read, path::Path, process::ExitCode};

use csv::{Position, StringRecord, Trim};
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;

use crate::progress;

/// A row or its error, after its line number.
pub(super) type Row<T> = (u64, Result<T, String>);
pub(super) type Rows<T> = Box<dyn Iterator<Item = Row<T>>>;

/// The exit code of a command that rejected this many rows.
pub(super) fn exit_code(rejected: u64) -> ExitCode {
    if rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The rows of `file` (`-` for standard input), and a bar that shows how much of it was read. The
/// file must have one column of each group in `needed`.
pub(super) fn read<T: DeserializeOwned + 'static>(
    file: &Path,
    trim: Trim,
    needed: &[&[&str]],
) -> anyhow::Result<(Rows<T>, ProgressBar)> {
    let (input, progress) = progress::open(file)?;
    let mut csv = csv::ReaderBuilder::new().trim(trim).from_reader(input);
    let headers = csv.headers()?.clone();
    for columns in needed {
        anyhow::ensure!(
            headers.iter().any(|name| columns.contains(&name)),
            "{}: column {} is missing",
            file.display(),
            columns.join(" or ")
        );
    }
    Ok((rows(csv, headers), progress))
}

fn rows<T: DeserializeOwned + 'static>(
    csv: csv::Reader<Box<dyn Read>>,
    headers: StringRecord,
) -> Rows<T> {
    Box::new(csv.into_records().enumerate().map(move |(at, record)| {
        // The first line has the names; a record knows better where it stands.
        let counted = at as u64 + 2;
        match record {
            Err(error) => {
                let line = error.position().map_or(counted, Position::line);
                (line, Err(error.to_string()))
            }
            Ok(record) => {
                let line = record.position().map_or(counted, Position::line);
                let row = record.deserialize(Some(&headers));
                (line, row.map_err(|error| error.to_string()))
            }
        }
    }))
}
