//! Rows that are rejected: reported on standard error, and written to a file on request.

use std::{fs::File, path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use csv::StringRecord;
use indicatif::ProgressBar;

use super::csv_rows::{CsvArgs, CsvFile, REASON, is_same};
use crate::output::visible;

/// The most rejected rows that are printed; the others are counted.
const MOST_PRINTED: u64 = 20;

/// The rejected rows of a file.
pub(super) struct Rejects {
    count: u64,
    file: Option<csv::Writer<File>>,
    progress: ProgressBar,
}

impl Rejects {
    /// For orders that come from no file.
    pub(super) const fn without_file(progress: ProgressBar) -> Self {
        Self {
            count: 0,
            file: None,
            progress,
        }
    }

    /// For the rows of `csv`, which was read from `input`.
    pub(super) fn of<T>(csv: &CsvFile<T>, input: &Path, args: &CsvArgs) -> anyhow::Result<Self> {
        let mut rejects = Self::without_file(csv.progress.clone());
        if let Some(path) = &args.rejects {
            ensure!(
                !is_same(input, path),
                "--rejects would overwrite {}",
                input.display()
            );
            let open = || {
                let mut file = csv::WriterBuilder::new()
                    .delimiter(csv.delimiter)
                    .flexible(true)
                    .from_path(path)?;
                let names = csv.headers.iter().filter(|name| *name != REASON);
                file.write_record(names.chain([REASON]))?;
                csv::Result::Ok(file)
            };
            let file = open().with_context(|| format!("cannot write {}", path.display()))?;
            rejects.file = Some(file);
        }
        Ok(rejects)
    }

    /// Rejects a row.
    pub(super) fn reject(
        &mut self,
        line: u64,
        cells: &StringRecord,
        reason: &str,
    ) -> anyhow::Result<()> {
        self.count += 1;
        if self.count <= MOST_PRINTED {
            let shown = visible(reason);
            self.progress.suspend(|| tell!("line {line}: {shown}"));
        }
        if let Some(file) = &mut self.file {
            file.write_record(cells.iter().chain([reason]))?;
        }
        Ok(())
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Says how many more there are; gives the exit code.
    pub(super) fn finish(mut self) -> anyhow::Result<ExitCode> {
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the rejected rows")?;
        }
        if self.count > MOST_PRINTED {
            let more = self.count - MOST_PRINTED;
            let hint = match self.file {
                Some(_) => "",
                None => "; --rejects FILE writes all of them to a file",
            };
            tell!("{more} more rows were rejected{hint}");
        }
        Ok(if self.count == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
