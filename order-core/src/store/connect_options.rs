//! Options for the use of a database.

use std::time::Duration;

use crate::error::Error;

/// Options for the use of a database.
///
/// ```
/// use order_core::store::ConnectOptions;
///
/// let options = ConnectOptions::default()
///     .with_max_connections(20)
///     .with_schema("shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The most connections to hold open. Unless it is given, that is 10 to Postgres, and 4 that
    /// read a `SQLite` file, which has one more that writes. From 1 to
    /// [`MAX_CONNECTIONS`](Self::MAX_CONNECTIONS). Keys, heartbeats and readiness have up to three
    /// more.
    pub max_connections: Option<u32>,
    /// The time for which an operation waits for a connection, until one is free or made, before it
    /// fails as unavailable: 5 s.
    pub acquire_timeout: Duration,
    /// The schema that has the tables, and that migrating makes; Postgres only. Unless it is given,
    /// Postgres goes by its `search_path`, and the tables are in `public`.
    pub schema: Option<String>,
    /// The time for which a writer waits for another process's transaction: 5 s; `SQLite` only.
    pub busy_timeout: Duration,
    /// The time for which a request may read, after which its statement is interrupted: 10 s;
    /// `SQLite` only.
    pub read_limit: Duration,
    /// Makes a `SQLite` file that is not there; it does by default.
    pub create: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            max_connections: None,
            acquire_timeout: Duration::from_secs(5),
            schema: None,
            busy_timeout: Duration::from_secs(5),
            read_limit: Duration::from_secs(10),
            create: true,
        }
    }
}

impl ConnectOptions {
    /// The most connections that one process may hold open: each has its place in memory.
    pub const MAX_CONNECTIONS: u32 = 10_000;

    /// The same options, with this many connections at the most.
    #[must_use]
    pub const fn with_max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = Some(max_connections);
        self
    }

    /// The same options, with this wait for a connection.
    #[must_use]
    pub const fn with_acquire_timeout(mut self, acquire_timeout: Duration) -> Self {
        self.acquire_timeout = acquire_timeout;
        self
    }

    /// The same options, with the tables in this schema: up to 63 lower-case letters, digits and
    /// underscores, of which the first is no digit.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The same options, with this wait for another process's transaction.
    #[must_use]
    pub const fn with_busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }

    /// The same options, with this limit to what a request may read.
    #[must_use]
    pub const fn with_read_limit(mut self, read_limit: Duration) -> Self {
        self.read_limit = read_limit;
        self
    }

    /// The same options, to make a file that is not there, or not to.
    #[must_use]
    pub const fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Refuses what no database could work with.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub(super) fn check(&self) -> Result<(), Error> {
        let connections = 1..=Self::MAX_CONNECTIONS;
        if self
            .max_connections
            .is_some_and(|max| !connections.contains(&max))
        {
            let reason = format!("must be from 1 to {}", Self::MAX_CONNECTIONS);
            return Err(Error::invalid("database_max_connections", reason));
        }
        if let Some(schema) = &self.schema
            && !is_plain_name(schema)
        {
            return Err(Error::invalid(
                "database_schema",
                "must be up to 63 lower-case letters, digits and underscores, not begin with a \
                 digit, and not with pg_",
            ));
        }
        Ok(())
    }
}

/// Tells whether Postgres takes `name` for a schema of ours, and has no other spelling of it. Names
/// with `pg_` are its own.
fn is_plain_name(name: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_known)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.starts_with("pg_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_a_schema_is_refused_by_the_name_of_the_setting() {
        for good in ["shop", "_", "shop_2", &"s".repeat(63), "user"] {
            assert!(ConnectOptions::default().with_schema(good).check().is_ok());
        }
        for bad in [
            "",
            "2shop",
            "Shop",
            "a-b",
            "a\"b",
            "a,b",
            "é",
            "pg_shop",
            &"s".repeat(64),
        ] {
            let refused = ConnectOptions::default().with_schema(bad).check();
            let message = refused.unwrap_err().to_string();
            assert!(
                message.starts_with("database_schema must"),
                "{bad}: {message}"
            );
        }
        for wrong in [0, 10_001, u32::MAX] {
            let refused = ConnectOptions::default()
                .with_max_connections(wrong)
                .check();
            let message = refused.unwrap_err().to_string();
            assert_eq!(message, "database_max_connections must be from 1 to 10000");
        }
    }
}
