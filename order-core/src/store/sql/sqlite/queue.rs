//! A `SQLite` file as an order queue. Time is that of the machine, which all who open the file are on.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{readers::Readers, writer::Writer};
use crate::{
    domain::IdGenerator,
    error::Error,
    queue::Topic,
    store::sql::{
        backend::{Priority, Readable, SqlConnection, SqlTransaction},
        queue::{QueueStatements, SqlQueue},
        value::Value,
    },
};

/// A queue in a `SQLite` file.
pub struct SqliteQueue {
    writer: Writer,
    readers: Readers,
    claim_ids: IdGenerator,
}

impl SqliteQueue {
    /// A queue in the file of `writer` and `readers`, whose schema is migrated.
    pub(super) fn new(writer: Writer, readers: Readers) -> Self {
        Self {
            writer,
            readers,
            claim_ids: IdGenerator::default(),
        }
    }
}

const IS_ANY_DUE: &str = "SELECT NOT EXISTS (SELECT 1 FROM queue_pauses WHERE topic = $1)
        AND EXISTS (SELECT 1 FROM queue_entries
                    WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2)";

/// The condition that an entry is held by one of the leases in `$2`.
macro_rules! where_held {
    ($action:literal) => {
        concat!(
            $action,
            " WHERE topic = $1 AND (order_id, claim_id) IN
                 (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($2))"
        )
    };
}

#[async_trait]
impl SqlQueue for SqliteQueue {
    type Connection = SqliteConnection;

    const STATEMENTS: QueueStatements = QueueStatements {
        push: "INSERT INTO queue_entries (topic, order_id, visible_at)
             SELECT $1, unhex(value), $3 FROM json_each($2) WHERE true
             ON CONFLICT DO NOTHING",
        claim: "UPDATE queue_entries SET attempts = attempts + 1, runs = runs + 1, visible_at = $3,
                 claim_id = $4, worker_id = NULL, claimed_at = $5
             WHERE topic = $1 AND order_id IN (
                 SELECT order_id FROM queue_entries
                 WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $5
                 ORDER BY visible_at, order_id
                 LIMIT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses WHERE topic = $1)
                            THEN 0 ELSE $2 END)
             RETURNING order_id, attempts",
        ack: where_held!("DELETE FROM queue_entries"),
        retry: where_held!("UPDATE queue_entries SET visible_at = $3, claim_id = NULL"),
        dead_letter: where_held!(
            "UPDATE queue_entries SET dead_at = $3, reason = $4, claim_id = NULL"
        ),
        redrive: "UPDATE queue_entries
             SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = $3
             WHERE topic = $1 AND dead_at IS NOT NULL
               AND order_id IN (SELECT unhex(value) FROM json_each($2))",
        stats: "SELECT due.count, later.in_flight, later.count - later.in_flight, dead.count,
                    coalesce(($3 - (SELECT min(visible_at) FROM queue_entries
                                    WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $3))
                             / 1000000.0, 0.0),
                    EXISTS (SELECT 1 FROM queue_pauses WHERE topic = $1)
             FROM (SELECT count(*) AS count FROM (
                       SELECT 1 FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $3
                       LIMIT $2)) due,
                  (SELECT count(*) AS count, count(claim_id) AS in_flight FROM (
                       SELECT claim_id FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL AND visible_at > $3
                       LIMIT $2)) later,
                  (SELECT count(*) AS count FROM (
                       SELECT 1 FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NOT NULL LIMIT $2)) dead",
    };

    fn claim_ids(&self) -> &IdGenerator {
        &self.claim_ids
    }

    /// Without the write lock: mostly there is nothing.
    async fn prepare_claim(&self, topic: Topic, _max: usize) -> Result<bool, Error> {
        let values = [Value::text(topic.as_str()), SqliteConnection::now()];
        let mut connection = self.readers.acquire().await?;
        let (is_any_due,): (bool,) = connection.fetch_one(IS_ANY_DUE, &values).await?;
        Ok(is_any_due)
    }

    async fn execute(
        &self,
        priority: Priority,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        let mut tx = self.writer.begin(priority).await?;
        let changed = tx.execute(statement, values).await?;
        tx.commit().await?;
        Ok(changed)
    }

    async fn write_all<T: Readable>(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error> {
        let mut tx = self.writer.begin(Priority::Background).await?;
        let rows = tx.fetch_all(statement, values).await?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn read_all<T: Readable>(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error> {
        let mut connection = self.readers.acquire().await?;
        connection.fetch_all(statement, values).await
    }
}
