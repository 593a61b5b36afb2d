//! `order-cli completions`: what a shell needs to complete our commands.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Writes a completion script to standard output.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that is to read it
    shell: Shell,
}

pub(crate) fn run<C: CommandFactory>(completions: &Completions) {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(completions.shell, &mut command, name, &mut io::stdout());
}
