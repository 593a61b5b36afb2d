//! How far a schema is.

use serde::Serialize;

/// A migration of the schema, as a database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it does; empty if this program does not know it.
    pub description: String,
    /// Whether the database has it.
    pub state: MigrationState,
}

/// Whether a database has a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// It has it.
    Applied,
    /// It has another one of this number.
    Changed,
    /// It does not have it.
    Pending,
    /// It has it, and this program does not know it: a newer one migrated.
    Unknown,
}
