//! `order-cli completions`: the completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that reads the script
    shell: Shell,
}

pub(crate) fn run<C: CommandFactory>(completions: &Completions) -> anyhow::Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    // Writing to memory does not fail, at which the generator would panic.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut command, &name, &mut script);
    if completions.shell == Shell::Bash {
        script = with_one_name(&script, &name);
    }
    output::whole(&script)
}

/// The generator calls a command whose name has a hyphen by one name where words are read, and by
/// another where completions are chosen, so that it would never get below the first word.
fn with_one_name(script: &[u8], name: &str) -> Vec<u8> {
    let (read, chosen) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
    let script = String::from_utf8_lossy(script);
    let script = script.replace(&format!("        {chosen}"), &format!("        {read}"));
    script.into_bytes()
}
