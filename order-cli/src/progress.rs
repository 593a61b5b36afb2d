//! How far long work has come.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// Shown on a terminal, in the form of `template`; silent in a pipe. Where nobody knows how
/// much there is to do, it only shows that something is done.
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
