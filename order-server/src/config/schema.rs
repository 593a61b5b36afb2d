//! The schema of a database beside what this program knows: brought up to date, or checked.

use anyhow::{Context, bail};
use order_core::{
    Error,
    store::{Migration, MigrationState, Store},
};

/// Brings the schema up to date.
///
/// # Errors
/// When that fails, or a newer program migrated it.
pub(super) async fn migrate(store: &dyn Store) -> anyhow::Result<()> {
    let migrated = store.migrate().await;
    if migrated.is_err()
        && let Ok(newer) = numbers(store, MigrationState::Unknown).await
        && !newer.is_empty()
    {
        bail!(
            "a newer version migrated the database, by what this one does not know ({newer}): set \
             NO_MIGRATE=true to go on with it, and replace this version"
        );
    }
    migrated.context("cannot migrate the database")
}

/// Refuses a schema that lacks something: each statement would fail.
///
/// # Errors
/// When a migration is pending, or nobody answers.
pub(super) async fn check_is_migrated(store: &dyn Store) -> anyhow::Result<()> {
    let pending = numbers(store, MigrationState::Pending).await;
    let pending = pending.context("cannot tell whether the database is migrated")?;
    if pending.is_empty() {
        return Ok(());
    }
    bail!(
        "the database is not migrated for this version ({pending} missing), and NO_MIGRATE is set: \
         run `order-cli migrate` of this version first"
    );
}

/// The numbers of the migrations in this state.
async fn numbers(store: &dyn Store, state: MigrationState) -> Result<String, Error> {
    let migrations = store.migrations().await?.into_iter();
    let numbers = migrations.filter(|one: &Migration| one.state == state);
    let numbers: Vec<_> = numbers.map(|one| one.version.to_string()).collect();
    Ok(numbers.join(", "))
}
