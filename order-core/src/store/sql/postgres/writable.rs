//! Whether a session can write: it is with a primary, whose transactions are not made read-only.

use std::{io, time::Duration};

use sqlx::{PgConnection, Row, SqlSafeStr, postgres::PgRow, raw_sql};
use tokio::time::timeout;

/// The time in which a session must be set up, or say what it can do.
const LIMIT: Duration = Duration::from_secs(1);

/// The expression that the session can write.
macro_rules! writable {
    () => {
        "NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"
    };
}
pub(super) use writable;

/// The expression of the timeline that a primary writes, as a number of eight hexadecimal digits.
/// Promoting begins a new one. Not every database that speaks as Postgres does has it.
macro_rules! timeline {
    () => {
        "CASE WHEN pg_is_in_recovery() THEN ''
            ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
    };
}
pub(super) use timeline;

/// Asks whether the session can still write.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn is_writable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = ask(connection, concat!("SELECT ", writable!())).await?;
    answer.try_get(0)
}

/// The answer to a question.
///
/// # Errors
/// When the database does not answer within a second.
pub(super) async fn ask(
    connection: &mut PgConnection,
    question: impl SqlSafeStr,
) -> Result<PgRow, sqlx::Error> {
    timeout(LIMIT, raw_sql(question).fetch_one(connection))
        .await
        .map_err(io::Error::from)?
}
