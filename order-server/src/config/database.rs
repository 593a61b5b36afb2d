//! Settings of the database.

use std::{
    fmt, io,
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use anyhow::{anyhow, ensure};
use clap::Args;
use order_core::{
    Error,
    domain::Currency,
    store::{self, ConnectOptions, MigrationState, Store},
};

use super::{
    explain::cause,
    schema::{check_is_migrated, migrate},
    values::{millis, without_password},
};

/// The setting of the database, as it is called in the environment.
const URL: &str = "DATABASE_URL";
/// The setting of the way that migrations take to it.
const MIGRATE_URL: &str = "MIGRATE_DATABASE_URL";

/// Settings of the database, for the server and the command line alike.
#[derive(Clone, Args)]
pub struct Database {
    /// Database of products and orders: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME, also
    /// with several servers (HOST1:PORT,HOST2:PORT), of which the one that takes writes is used
    #[arg(
        long,
        env,
        default_value = "sqlite://orders.db",
        hide_env_values = true,
        global = true
    )]
    pub database_url: String,

    /// Way of migrations to the same database, for when DATABASE_URL leads through a pooler, or its
    /// role may not change the schema: postgres://USER:PASSWORD@HOST/NAME. DATABASE_URL unless given
    #[arg(long, env, value_name = "URL", hide_env_values = true, global = true)]
    pub migrate_database_url: Option<String>,

    /// Schema of Postgres that has the tables, and is made when it is not there; up to 63 lower-case
    /// letters, digits and underscores. The search_path of the database decides unless given
    #[arg(long, env, value_name = "NAME", global = true)]
    pub database_schema: Option<String>,

    /// Maximum number of open connections to the database: 10 to Postgres, 4 that read an SQLite
    /// file, unless given. Keys, heartbeats and readiness have up to three more
    #[arg(long, env, value_name = "CONNECTIONS", value_parser = connections(), global = true)]
    pub database_max_connections: Option<u32>,

    /// Milliseconds that an operation waits for a free connection to the database before it fails; at
    /// least 100, in which one can be made
    #[arg(long, env, default_value_t = 5_000, value_parser = wait(), global = true)]
    pub database_acquire_timeout_ms: u64,

    /// Currency of every price, as its code of ISO 4217, which gives the decimals. A database keeps
    /// the one that it was first opened with
    #[arg(long, env, default_value = "USD", value_name = "CODE", global = true)]
    pub currency: Currency,

    /// Do not migrate the schema at the start; one that lacks a migration is refused, and one that a
    /// newer version migrated is not
    #[arg(long, env, global = true)]
    pub no_migrate: bool,
}

/// Tells whether nobody listens there, after a connection could not be made.
fn refused(host: &str, port: u16) -> Option<String> {
    let mut addresses = (host, port).to_socket_addrs().ok()?;
    let address = addresses.next()?;
    let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let is_refused = connected.is_err_and(|error| is_refused(&error));
    is_refused.then(|| "connection refused".to_owned())
}

/// Parses the milliseconds of a wait for a connection.
fn wait() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(100..)
}

/// Parses a number of connections.
fn connections() -> impl clap::builder::TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=i64::from(ConnectOptions::MAX_CONNECTIONS))
}

impl Database {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// When the database does not answer, or refuses.
    pub async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        let store = self.open_with(self.options()).await?;
        self.check(store.set_currency(self.currency).await?)?;
        Ok(store)
    }

    /// Opens a database that exists; never creates one.
    ///
    /// # Errors
    /// As [`open`](Self::open); also when the named file does not exist.
    pub async fn open_existing(&self) -> anyhow::Result<Arc<dyn Store>> {
        let store = self.open_with(self.options().with_create(false)).await?;
        self.check(store.currency().await?.unwrap_or(self.currency))?;
        Ok(store)
    }

    /// Brings the schema up to date, and does nothing else.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.use_currency()?;
        let store = self.connect_to_migrate(self.options()).await?;
        migrate(&*store).await?;
        self.check(store.set_currency(self.currency).await?)?;
        store.close().await;
        Ok(())
    }

    /// Opens a database that exists, the way that migrations take, whatever its schema: nothing is
    /// migrated.
    ///
    /// # Errors
    /// When the database does not answer, or refuses, or does not exist.
    pub async fn open_as_it_is(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.connect_to_migrate(self.options().with_create(false))
            .await
    }

    /// Refuses a database whose amounts are in another currency.
    fn check(&self, kept: Currency) -> anyhow::Result<()> {
        let ours = self.currency;
        ensure!(
            kept == ours,
            "the database {self} sells in {kept}, and CURRENCY is {ours}"
        );
        Ok(())
    }

    /// Makes the currency that of this process: amounts are read and written in it from now on.
    ///
    /// # Errors
    /// When the process has another one.
    pub fn use_currency(&self) -> anyhow::Result<()> {
        let ours = self.currency;
        let used = ours.set_for_process();
        used.map_err(|other| anyhow::anyhow!("this process sells in {other}, not in {ours}"))
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::default()
            .with_acquire_timeout(millis(self.database_acquire_timeout_ms));
        options.max_connections = self.database_max_connections;
        options.schema.clone_from(&self.database_schema);
        options
    }

    async fn open_with(&self, options: ConnectOptions) -> anyhow::Result<Arc<dyn Store>> {
        self.use_currency()?;
        if self.no_migrate || self.migrate_database_url.is_none() {
            let store = connect(URL, &self.database_url, options).await?;
            if self.no_migrate {
                check_is_migrated(&*store).await?;
            } else {
                migrate(&*store).await?;
            }
            return Ok(store);
        }
        let direct = self.connect_to_migrate(options.clone()).await?;
        migrate(&*direct).await?;
        direct.close().await;
        drop(direct);
        let store = connect(URL, &self.database_url, options).await?;
        let mut migrations = store.migrations().await?.into_iter();
        ensure!(
            migrations.all(|one| one.state == MigrationState::Applied),
            "{MIGRATE_URL} leads to another database than {URL}: what is migrated there is not \
             migrated in {self}"
        );
        Ok(store)
    }

    /// Connects the way that migrations take.
    async fn connect_to_migrate(&self, options: ConnectOptions) -> anyhow::Result<Arc<dyn Store>> {
        let Some(url) = &self.migrate_database_url else {
            return connect(URL, &self.database_url, options).await;
        };
        ensure!(
            is_postgres(url) && is_postgres(&self.database_url),
            "{MIGRATE_URL} is for Postgres: it and {URL} must start with postgres://"
        );
        connect(MIGRATE_URL, url, options).await
    }
}

/// Connects to the database that `setting` names.
async fn connect(
    setting: &str,
    url: &str,
    options: ConnectOptions,
) -> anyhow::Result<Arc<dyn Store>> {
    let store = store::connect_with(url, options).await;
    store.map_err(|error| explained(setting, url, &error))
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// Why the database cannot be opened, and what to do about it.
fn explained(setting: &str, url: &str, error: &Error) -> anyhow::Error {
    match error {
        Error::Invalid { .. } => {
            let said = error.to_string();
            let said = said.replacen("database_url", &setting.to_lowercase(), 1);
            anyhow!("cannot open the database: {said}")
        }
        Error::Unavailable { .. } if is_postgres(url) => {
            let cause = cause(error);
            // Of several servers, the cause names each.
            let said = match url::Url::parse(url) {
                Ok(url) if !cause.starts_with("no server ") => {
                    let host = url.host_str().unwrap_or("localhost").to_owned();
                    let port = url.port().unwrap_or(5432);
                    // The driver says only that it waited.
                    let cause = refused(&host, port).unwrap_or(cause);
                    format!("at {host}:{port}: {cause}")
                }
                _ => format!("({cause})"),
            };
            anyhow!("cannot reach postgres {said}; is it running? set {setting}")
        }
        _ => anyhow!(
            "cannot open the database {}: {}; {setting} names it",
            without_password(url),
            cause(error)
        ),
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
            .field(
                "migrate_database_url",
                &self.migrate_database_url.as_deref().map(without_password),
            )
            .field("database_schema", &self.database_schema)
            .field("database_max_connections", &self.database_max_connections)
            .field(
                "database_acquire_timeout_ms",
                &self.database_acquire_timeout_ms,
            )
            .field("currency", &self.currency)
            .field("no_migrate", &self.no_migrate)
            .finish()
    }
}
