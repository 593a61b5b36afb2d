//! Progress bars.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar of the form `template` on a terminal, nothing elsewhere. Without a `length` it only shows
/// that work goes on.
pub(crate) fn bar(length: Option<u64>, template: &str) -> anyhow::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    Ok(match length {
        Some(length) => {
            ProgressBar::new(length).with_style(ProgressStyle::with_template(template)?)
        }
        None => ProgressBar::new_spinner(),
    })
}

/// Opens `file` (`-` for standard input), with a bar that shows how much of it was read.
pub(crate) fn open(file: &Path) -> anyhow::Result<(Box<dyn Read>, ProgressBar)> {
    let template = "{bar:40} {percent}% {msg}, {eta} left";
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), bar(None, template)?));
    }
    let open = || {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        io::Result::Ok((file, length))
    };
    let (input, length) = open().with_context(|| format!("cannot open {}", file.display()))?;
    let progress = bar(Some(length), template)?;
    Ok((Box::new(progress.wrap_read(input)), progress))
}
