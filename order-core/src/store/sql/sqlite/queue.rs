//! The statements of the file as a queue.

use super::store::SqliteStore;
use crate::store::sql::{queue::SqlQueue, statements::QueueStatements};

/// A queue in a `SQLite` file.
pub type SqliteQueue = SqlQueue<SqliteStore>;

impl SqliteStore {
    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::over(self.clone())
    }
}

pub(super) const STATEMENTS: QueueStatements = QueueStatements {
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
    ack: "DELETE FROM queue_entries
         WHERE topic = $1 AND (order_id, claim_id) IN
             (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($2))",
    retry: "UPDATE queue_entries SET visible_at = $3, claim_id = NULL
         WHERE topic = $1 AND (order_id, claim_id) IN
             (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($2))",
    dead_letter: "UPDATE queue_entries SET dead_at = $3, reason = $4, claim_id = NULL
         WHERE topic = $1 AND (order_id, claim_id) IN
             (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($2))",
    redrive: "UPDATE queue_entries
         SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = $3
         WHERE topic = $1 AND dead_at IS NOT NULL
           AND order_id IN (SELECT unhex(value) FROM json_each($2))
         RETURNING order_id",
    reason_contains: " AND instr(lower(reason), ",
    stats: "SELECT min(due.count + batches.due, $2),
                min(later.scheduled + batches.scheduled, $2),
                min(later.in_flight + batches.in_flight, $2),
                min(later.count - later.scheduled - later.in_flight + batches.retrying, $2),
                dead.count,
                coalesce(($3 - (SELECT min(since) FROM (
                    SELECT min(visible_at) AS since FROM queue_entries
                    WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $3
                    UNION ALL SELECT batches.oldest)))
                         / 1000000.0, 0.0),
                EXISTS (SELECT 1 FROM queue_pauses WHERE topic = $1)
         FROM (SELECT coalesce(sum(tasks) FILTER (WHERE due_at <= $3), 0) AS due,
                      coalesce(sum(tasks) FILTER (WHERE due_at > $3 AND claim_id IS NULL), 0)
                          AS scheduled,
                      coalesce(sum(tasks) FILTER (WHERE due_at > $4 AND claim_id IS NOT NULL), 0)
                          AS in_flight,
                      coalesce(sum(tasks) FILTER (WHERE due_at > $3 AND due_at <= $4
                                                    AND claim_id IS NOT NULL), 0) AS retrying,
                      min(due_at) FILTER (WHERE due_at <= $3) AS oldest
               FROM (SELECT tasks, due_at, claim_id FROM task_batches WHERE $1 = 'process'
                     ORDER BY due_at LIMIT $2)) batches,
              (SELECT count(*) AS count FROM (
                   SELECT 1 FROM queue_entries
                   WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $3
                   LIMIT $2)) due,
              (SELECT count(*) AS count,
                      count(*) FILTER (WHERE claim_id IS NULL AND runs = 0) AS scheduled,
                      count(*) FILTER (WHERE claim_id IS NOT NULL AND visible_at > $4)
                          AS in_flight
               FROM (SELECT claim_id, runs, visible_at FROM queue_entries
                     WHERE topic = $1 AND dead_at IS NULL AND visible_at > $3
                     LIMIT $2)) later,
              (SELECT count(*) AS count FROM (
                   SELECT 1 FROM queue_entries
                   WHERE topic = $1 AND dead_at IS NOT NULL LIMIT $2)) dead",
};
