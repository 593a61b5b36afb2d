//! The settings of every session, and the check that it is of use.
//!
//! A session is of use when it can write. That is asked when it begins, and again when it was idle
//! or doubtful. A server becomes a standby only by a restart, which ends its sessions: one that was
//! with a primary when it began is with a primary for as long as it lives, and what it reads
//! without a lock is not what a standby says. (A primary that was cut off, and replaced without
//! being told, still takes itself for one; what it cannot do is commit, when its standby is
//! synchronous.)

use std::{io, sync::Arc};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, Row, SqlSafeStr, SqlStr,
    postgres::PgConnectOptions, raw_sql,
};

use super::{
    primary::{Servers, WAS_REPLACED},
    writable::{ask, timeline, writable},
};

/// Asks whether it can write, and makes the settings of every session, all of them, so that they
/// stay as they are when the server reads its configuration again.
///
/// - Answers promise durability. A setting that promises more than `on` is kept, one that promises
///   less is not.
/// - Transactions and locks are made for `read committed`.
/// - A statement that waits for a lock keeps a connection, and what was locked before: not for long
///   (see `lockable`). Its error says that nothing was done.
/// - A process that hangs with a product locked loses its session, and the rest goes on; so it does
///   when the process or its machine is gone, and nothing goes on that nobody waits for.
/// - Each statement of the hot path looks up rows by key. The planner, when it has stale or
///   no statistics, takes tables for small and reads them whole: such plans are ruled out.
/// - Such a statement is done before helpers have started, and a page of a list stops early.
/// - With one plan left, there is nothing to choose by the values: planning once is enough.
///
/// Not through a prepared statement: one round trip.
const BEGIN: &str = concat!(
    "SELECT ",
    writable!(),
    ",
        set_config('synchronous_commit', CASE current_setting('synchronous_commit')
            WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('default_transaction_deferrable', 'off', false),
        set_config('lock_timeout', '250ms', false),
        set_config('statement_timeout', '30s', false),
        set_config('idle_in_transaction_session_timeout', '8s', false),
        set_config('tcp_keepalives_idle', '5', false),
        set_config('tcp_keepalives_interval', '2', false),
        set_config('tcp_keepalives_count', '3', false),
        set_config('tcp_user_timeout', '10s', false),
        CASE WHEN current_setting('client_connection_check_interval', true) IS NOT NULL
            THEN set_config('client_connection_check_interval', '2s', false) END,
        set_config('enable_seqscan', 'off', false),
        set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false),
        set_config('enable_bitmapscan', 'off', false),
        set_config('enable_sort', 'off', false),
        set_config('max_parallel_workers_per_gather', '0', false),
        set_config('plan_cache_mode', 'force_generic_plan', false),
        set_config('jit', 'off', false)"
);

/// The name of sessions that have no other.
pub(super) const NAME: &str = "orders";

/// The sessions of one store.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    pub(super) servers: Arc<Servers>,
    /// The name of a session, for whoever looks at the database.
    name: String,
    /// The schema that they use, unless it is the one that they begin with.
    schema: Option<String>,
    begin: SqlStr,
}

impl Sessions {
    /// Sessions with the primary of `servers`. A `schema` has a name that needs no escapes.
    pub(super) fn new(servers: Servers, schema: Option<String>) -> Self {
        let mut begin = BEGIN.to_owned();
        if servers.are_several() {
            begin += concat!(", ", timeline!(), " AS timeline");
        }
        if let Some(schema) = &schema {
            // Not as a parameter of the connection: a pooler does not take it.
            begin += &format!(", set_config('search_path', '\"{schema}\"', false)");
        }
        Self {
            servers: Arc::new(servers),
            name: NAME.to_owned(),
            schema,
            begin: AssertSqlSafe(begin).into_sql_str(),
        }
    }

    /// The same, by another name.
    pub(super) fn named(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// What leads to the server that takes writes, as far as is known.
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        self.servers.primary().application_name(&self.name)
    }

    /// A session on a connection of its own.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.connect_options().connect().await?;
        self.begin(&mut connection).await?;
        Ok(connection)
    }

    /// Sets a new session up.
    ///
    /// # Errors
    /// When it is of no use, or the database does not answer.
    pub(super) async fn begin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let answer = ask(connection, self.begin.clone()).await?;
        if !answer.try_get(0)? {
            return Err(sqlx::Error::Io(io::Error::other(
                "the server is a standby or read-only, and takes no writes",
            )));
        }
        // It may have begun before the other one was found, and come about after that.
        if self.servers.are_several() && self.servers.know_newer(answer.try_get("timeline")?) {
            return Err(sqlx::Error::Io(io::Error::other(WAS_REPLACED)));
        }
        Ok(())
    }

    /// Makes the schema, if it is not the one that the database has anyway.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) async fn make_schema(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), sqlx::Error> {
        let Some(schema) = &self.schema else {
            return Ok(());
        };
        let make = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
        raw_sql(AssertSqlSafe(make)).execute(connection).await?;
        Ok(())
    }
}

/// Makes what is read as durable as what is written: within a transaction, with its commit, and else
/// by itself. To be called before an answer says that something was done earlier.
///
/// The rows of an earlier transaction show when its session was ended, or the server, while it
/// waited for its synchronous standby: then the standby may not have it. A commit of ours waits for
/// all that came before it. The record that it writes means nothing.
///
/// # Errors
/// When the record cannot be written.
pub(super) async fn assure(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_logical_emit_message(true, 'orders', '')")
        .execute(connection)
        .await
        .map(drop)
}
