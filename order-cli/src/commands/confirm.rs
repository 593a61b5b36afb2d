//! Asking before something is done that cannot be undone.

use std::io::{IsTerminal, Write, stdin, stdout};

use anyhow::{bail, ensure};

/// Asks on a terminal; elsewhere nobody could answer, and `--yes` is needed.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(stdin().is_terminal(), "{question} give --yes to do it");
    print!("{question} [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if !answer.trim().eq_ignore_ascii_case("y") {
        bail!("not done");
    }
    Ok(())
}
