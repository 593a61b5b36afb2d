//! The statements of the database as a queue: claims skip what others are claiming (`SKIP LOCKED`), so
//! that any number of workers share it.

use super::store::PostgresStore;
use crate::store::sql::{queue::SqlQueue, statements::QueueStatements};

/// A queue in a Postgres database.
pub type PostgresQueue = SqlQueue<PostgresStore>;

impl PostgresStore {
    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> PostgresQueue {
        PostgresQueue::over(self.clone())
    }
}

pub(super) const STATEMENTS: QueueStatements = QueueStatements {
    push: "INSERT INTO queue_entries (topic, order_id, visible_at)
     SELECT $1, id, now
     FROM (SELECT clock_timestamp() AS now) AS clock, unnest($2::uuid[]) AS pushed (id)
     ON CONFLICT DO NOTHING",
    claim: "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
     claimed AS MATERIALIZED (
         SELECT order_id FROM queue_entries
         WHERE topic = $1 AND dead_at IS NULL AND visible_at <= (SELECT now FROM clock)
           AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
         ORDER BY visible_at LIMIT $2 FOR UPDATE SKIP LOCKED)
     UPDATE queue_entries e
     SET attempts = attempts + 1, runs = runs + 1, claim_id = $4, worker_id = NULL,
         claimed_at = (SELECT now FROM clock),
         visible_at = (SELECT now + $3::bigint * interval '1 microsecond' FROM clock)
     FROM claimed WHERE e.topic = $1 AND e.order_id = claimed.order_id
     RETURNING e.order_id, e.attempts",
    ack: "DELETE FROM queue_entries e
     USING unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
     WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
    retry: "UPDATE queue_entries e
     SET visible_at = clock_timestamp() + $4::bigint * interval '1 microsecond',
         claim_id = NULL
     FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
     WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
    dead_letter: "UPDATE queue_entries e
     SET dead_at = clock_timestamp(), reason = $4, claim_id = NULL
     FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
     WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
    redrive: "UPDATE queue_entries
     SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = clock_timestamp()
     WHERE topic = $1 AND order_id = ANY($2) AND dead_at IS NOT NULL
     RETURNING order_id",
    // The collation leaves all but ASCII as it is, like SQLite.
    reason_contains: " AND strpos(lower(reason COLLATE \"C\"), ",
    stats: "WITH clock AS MATERIALIZED (
         SELECT now, now - $3::bigint * interval '1 microsecond' AS due
         FROM (SELECT clock_timestamp() AS now) AS clock)
     SELECT least(due.count + batches.due, $2),
            least(later.scheduled + batches.scheduled, $2),
            least(later.in_flight + batches.in_flight, $2),
            least(later.count - later.scheduled - later.in_flight + batches.retrying, $2),
            dead.count,
            coalesce(date_part('epoch', clock.due - least(batches.oldest, (
                SELECT visible_at FROM queue_entries
                WHERE topic = $1 AND dead_at IS NULL
                  AND visible_at <= (SELECT due FROM clock)
                ORDER BY visible_at LIMIT 1))), 0),
            EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
     FROM clock,
          (SELECT coalesce(sum(tasks) FILTER (WHERE is_due), 0)::bigint AS due,
                  coalesce(sum(tasks) FILTER (WHERE NOT is_due AND NOT is_claimed), 0)::bigint
                      AS scheduled,
                  coalesce(sum(tasks) FILTER (WHERE is_leased), 0)::bigint AS in_flight,
                  coalesce(sum(tasks) FILTER (WHERE NOT is_due AND is_claimed AND NOT is_leased),
                           0)::bigint AS retrying,
                  min(due_at) FILTER (WHERE is_due) AS oldest
           FROM (SELECT tasks, due_at, claim_id IS NOT NULL AS is_claimed,
                        due_at <= (SELECT due FROM clock) AS is_due,
                        claim_id IS NOT NULL AND due_at > (SELECT now FROM clock) AS is_leased
                 FROM task_batches WHERE $1 = 'process'
                 ORDER BY due_at LIMIT $2) b) batches,
          (SELECT count(*) FROM (
               SELECT FROM queue_entries
               WHERE topic = $1 AND dead_at IS NULL
                 AND visible_at <= (SELECT due FROM clock) LIMIT $2) e) due,
          (SELECT count(*), count(*) FILTER (WHERE claim_id IS NULL AND runs = 0) AS scheduled,
                  count(*) FILTER (WHERE claim_id IS NOT NULL
                                     AND visible_at > (SELECT now FROM clock)) AS in_flight
           FROM (SELECT claim_id, runs, visible_at FROM queue_entries
                 WHERE topic = $1 AND dead_at IS NULL
                   AND visible_at > (SELECT due FROM clock) LIMIT $2) e) later,
          (SELECT count(*) FROM (
               SELECT FROM queue_entries
               WHERE topic = $1 AND dead_at IS NOT NULL LIMIT $2) e) dead",
};
