//! `order-cli completions`: the completion script for a shell.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that reads the script
    shell: Shell,
}

pub(crate) fn run<C: CommandFactory>(completions: &Completions) {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(completions.shell, &mut command, name, &mut io::stdout());
}
