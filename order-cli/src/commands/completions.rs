//! `order-cli completions`: the completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  order-cli completions bash > ~/.local/share/bash-completion/completions/order-cli
  order-cli completions fish > ~/.config/fish/completions/order-cli.fish")]
pub(crate) struct Completions {
    /// Shell that reads the script
    shell: Shell,
}

pub(crate) fn run<C: CommandFactory>(completions: &Completions) -> anyhow::Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    // Writing to memory does not fail, at which the generator would panic.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut command, name, &mut script);
    output::whole(&script)
}
