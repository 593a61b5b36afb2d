//! Time that goes by for a database: its clock is not ours to move, so that what it remembers
//! is made older.

use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::Connection;
#[cfg(feature = "postgres")]
use sqlx::PgConnection;
#[cfg(feature = "sqlite")]
use sqlx::SqliteConnection;

use super::conformance::Time;

/// Makes what a Postgres database remembers older.
#[cfg(feature = "postgres")]
#[derive(Debug)]
pub struct PostgresTime {
    url: String,
}

/// Makes what a `SQLite` file remembers older.
#[cfg(feature = "sqlite")]
#[derive(Debug)]
pub struct SqliteTime {
    url: String,
}

#[cfg(feature = "postgres")]
impl PostgresTime {
    /// The time of the database that `url` names.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let url = url.to_owned();
        Self { url }
    }
}

#[cfg(feature = "sqlite")]
impl SqliteTime {
    /// The time of the file that `url` names.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let url = url.to_owned();
        Self { url }
    }
}

/// The rows that go by the clock of the database, made older by `$span`, or by `$secs`.
macro_rules! age {
    ($span:literal, $secs:literal) => {
        [
            concat!(
                "UPDATE queue_entries SET visible_at = visible_at - ",
                $span,
                ", claimed_at = claimed_at - ",
                $span,
                ", dead_at = dead_at - ",
                $span
            ),
            concat!(
                "UPDATE task_batches SET due_at = due_at - ",
                $span,
                ", claimed_at = claimed_at - ",
                $span
            ),
            concat!(
                "UPDATE process_attempts SET started_at = started_at - ",
                $span,
                ", ended_at = ended_at - ",
                $span
            ),
            concat!(
                "UPDATE workers SET started_at = started_at - ",
                $span,
                ", heartbeat_at = heartbeat_at - ",
                $span,
                ", stopped_at = stopped_at - ",
                $span
            ),
            concat!(
                "UPDATE api_keys SET expires_at = expires_at - ",
                $span,
                ", last_used_at = last_used_at - ",
                $span
            ),
            concat!(
                "UPDATE orders SET stored_at = stored_at - ",
                $span,
                ", held_at = held_at - ",
                $span,
                ", held_until = held_until - ",
                $span
            ),
            concat!("UPDATE holds SET held_until = held_until - ", $span),
            concat!(
                "UPDATE products SET lapses_at = lapses_at - ",
                $span,
                ", on_sale_from = on_sale_from - ",
                $span,
                ", on_sale_until = on_sale_until - ",
                $span
            ),
            // By way of what is below zero: no second is there twice on the way.
            concat!("UPDATE order_counters SET at = ", $secs, " - at"),
            concat!(
                "UPDATE order_counters SET at = -at WHERE at <= 0 AND ",
                $secs,
                " IS NOT NULL"
            ),
        ]
    };
}

#[cfg(feature = "postgres")]
#[async_trait]
impl Time for PostgresTime {
    async fn advance(&self, by: TimeDelta) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        for statement in age!(
            "$1::bigint * interval '1 microsecond'",
            "$1::bigint / 1000000"
        ) {
            let aged = sqlx::query(statement).bind(by.num_microseconds());
            aged.execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }
}

#[cfg(feature = "sqlite")]
#[async_trait]
impl Time for SqliteTime {
    async fn advance(&self, by: TimeDelta) {
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        for statement in age!("?1", "?1 / 1000000") {
            let aged = sqlx::query(statement).bind(by.num_microseconds());
            aged.execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }
}
