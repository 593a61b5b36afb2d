//! `order-cli man`: manual pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::output;

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder to write a page for each command to, such as ~/.local/share/man/man1
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run<C: CommandFactory>(man: &Man) -> anyhow::Result<()> {
    let command = C::command();
    if let Some(dir) = &man.dir {
        return clap_mangen::generate_to(command, dir)
            .with_context(|| format!("cannot write to {}", dir.display()));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    output::whole(&page)
}
