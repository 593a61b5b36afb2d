//! `order-cli migrate`: brings the schema up to date, or tells how far it is.

use std::process::ExitCode;

use clap::Args;
use order_core::store::MigrationState;
use order_server::runtime::Database;

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("version", "/version"),
    ("description", "/description"),
    ("state", "/state"),
];

/// Migrate the database schema, and do nothing else
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Change nothing: list the migrations, and exit with 1 unless all of them, and no others, are
    /// applied
    #[arg(long)]
    status: bool,
}

pub(crate) async fn run(
    migrate: &Migrate,
    database: &Database,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    if !migrate.status {
        database.migrate().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = database.open_as_it_is().await?;
    let migrations = store.migrations().await?;
    store.close().await;
    output.rows(COLUMNS, &migrations)?;
    let is_applied = |state| state == MigrationState::Applied;
    Ok(if migrations.iter().all(|one| is_applied(one.state)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
