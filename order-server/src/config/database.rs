//! Settings of the database.

use std::{fmt, sync::Arc};

use anyhow::Context;
use clap::Args;
use order_core::{
    Error,
    store::{self, Store},
};

use super::values::without_password;

/// Settings of the database, for the server and the command line alike.
#[derive(Clone, Args)]
pub struct Database {
    /// Database of products and orders: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME
    #[arg(
        long,
        env,
        default_value = "sqlite://orders.db",
        hide_env_values = true,
        global = true
    )]
    pub database_url: String,

    /// Do not migrate the schema at the start
    #[arg(long, env, global = true)]
    pub no_migrate: bool,
}

impl Database {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// When the database does not answer, or refuses.
    pub async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.migrated(store::connect(&self.database_url).await)
            .await
    }

    /// Opens a database that exists; never creates one.
    ///
    /// # Errors
    /// As [`open`](Self::open); also when the named file does not exist.
    pub async fn open_existing(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.migrated(store::connect_existing(&self.database_url).await)
            .await
    }

    async fn migrated(
        &self,
        connected: Result<Arc<dyn Store>, Error>,
    ) -> anyhow::Result<Arc<dyn Store>> {
        let store = connected.with_context(|| format!("cannot open the database {self}"))?;
        if !self.no_migrate {
            store
                .migrate()
                .await
                .context("cannot migrate the database")?;
        }
        Ok(store)
    }
}

/// The URL without its password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.database_url))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("database_url", &self.to_string())
            .field("no_migrate", &self.no_migrate)
            .finish()
    }
}
