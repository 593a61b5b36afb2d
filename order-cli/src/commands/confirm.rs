//! Asks before an action that cannot be undone.

use std::io::{IsTerminal, Write, stdin, stdout};

use anyhow::{bail, ensure};

use crate::output::visible;

/// Asks on a terminal. Elsewhere nobody could answer, so that `--yes` is required.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(stdin().is_terminal(), "{question} confirm with --yes");
    print!("{} [y/N] ", visible(question));
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if !answer.trim().eq_ignore_ascii_case("y") {
        bail!("cancelled; nothing was changed");
    }
    Ok(())
}
