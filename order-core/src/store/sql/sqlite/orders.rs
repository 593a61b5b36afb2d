//! Orders: the statements that read, insert, decide and cancel them.

use crate::store::sql::{rows::order_columns, sorted::Sorted, statements::OrderStatements};

pub(super) const STATEMENTS: OrderStatements = OrderStatements {
    lock: concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1"),
    read: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY id"
    ),
    lines: "SELECT order_id, product_id, quantity, unit_price FROM order_lines
         WHERE order_id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY order_id, line_no",
    progress: "SELECT id, status, created_at, decided_at, held_until, confirmed_at, completed_at,
                cancelled_at FROM orders
         WHERE id IN (SELECT unhex(value) FROM json_each($1))",
    // A trigger counts it, whether it was sold or not.
    cancel: "UPDATE orders SET status = 'cancelled', cancelled_at = $2, total_price = 0,
                cancelled_quantities = $3
         WHERE id = $1",
    give_back: "UPDATE orders SET total_price = $2, cancelled_quantities = $3 WHERE id = $1",
    // Of the oldest, not of all: when none of them is old enough, none is.
    pending_for: "SELECT id FROM (SELECT id, coalesce(stored_at, created_at) AS since FROM orders
                         WHERE status = 'pending' AND id > $2 ORDER BY id LIMIT $3)
         WHERE since <= $1 ORDER BY id",
    backlog:
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM orders WHERE status = 'pending' LIMIT $1)),
                (SELECT $2 - coalesce(stored_at, created_at) FROM orders WHERE status = 'pending'
                 ORDER BY id LIMIT 1)",
    // `CROSS JOIN` keeps the planner to the way along the lines, and `GROUP BY`, which costs nothing
    // on it, makes one of each order's.
    along_product: " FROM order_lines CROSS JOIN orders ON id = order_id \
         WHERE product_id = $1",
    along_product_orders: Sorted {
        newest_first: "",
        oldest_first: "",
    },
    along_product_end: " GROUP BY order_id",
    had_by_customers: "SELECT o.customer, line.product_id,
                line.quantity - coalesce(o.cancelled_quantities ->> (line.line_no - 1), 0) AS kept,
                CASE WHEN o.status = 'held' THEN o.id END
         FROM json_each($1) asked
         CROSS JOIN orders o ON o.customer = asked.value
         CROSS JOIN order_lines line ON line.order_id = o.id
         WHERE o.status IN ('held', 'success', 'completed') AND kept > 0
           AND (o.status <> 'held' OR o.held_until > $3)
           AND line.product_id IN (SELECT unhex(value) FROM json_each($2))
         UNION ALL
         SELECT had.customer, had.product_id, had.pieces, NULL
         FROM json_each($1) asked
         CROSS JOIN archived_purchases had ON had.customer = asked.value
         WHERE had.product_id IN (SELECT unhex(value) FROM json_each($2))",
    has_product: " AND EXISTS (SELECT 1 FROM order_lines \
         WHERE product_id = $2 AND order_id = orders.id)",
};

pub(super) const INSERT_ORDERS: &str =
    "INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                         trace_parent, client_id, customer, hold_seconds, held_at, held_until,
                         stored_at, task_batch)
     SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, unhex(value ->> 7), value ->> 8, value ->> 9, value ->> 10, value ->> 11,
            $2, CASE WHEN value ->> 10 IS NULL THEN $3 END
     FROM json_each($1)";

pub(super) const INSERT_HOLDS: &str = "INSERT INTO holds (order_id, product_id, held_until)
     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1)";

/// The holds of orders that were pending.
pub(super) const INSERT_HOLDS_OF: &str = "INSERT INTO holds (order_id, product_id, held_until)
     SELECT DISTINCT orders.id, line.product_id, orders.held_until
     FROM orders CROSS JOIN order_lines line ON line.order_id = orders.id
     WHERE orders.id IN (SELECT unhex(value) FROM json_each($1))";

pub(super) const INSERT_LINES: &str =
    "INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
     SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4
     FROM json_each($1)";

/// `$1` are the product, the id, the order and the pieces of each.
pub(super) const INSERT_RETURNS: &str =
    "INSERT INTO stock_returns (product_id, id, order_id, quantity, created_at)
     SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, $2
     FROM json_each($1)";

pub(super) const INSERT_KEYS: &str =
    "INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
     SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4
     FROM json_each($1)";

/// `CROSS JOIN` keeps the order of the loops: one lookup for each key.
pub(super) const USED_KEYS: &str = "SELECT used.scope, used.key, used.fingerprint, used.target_id
     FROM json_each($1) asked CROSS JOIN idempotency_keys used
       ON used.scope = unhex(asked.value ->> 0) AND used.key = asked.value ->> 1";

/// `CROSS JOIN` keeps the order of the loops: from the few orders to their lines.
pub(super) const CLAIM_OLDEST: &str = "WITH claimed AS MATERIALIZED (
         SELECT id, hold_seconds, customer FROM orders WHERE status = 'pending' ORDER BY id LIMIT $1)
     SELECT claimed.id, line.product_id, line.quantity, claimed.hold_seconds, claimed.customer
     FROM claimed CROSS JOIN order_lines line ON line.order_id = claimed.id
     ORDER BY claimed.id, line.line_no";

pub(super) const CLAIM_BY_IDS: &str = "WITH claimed AS MATERIALIZED (
         SELECT id, hold_seconds, customer FROM orders WHERE status = 'pending'
           AND id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY id)
     SELECT claimed.id, line.product_id, line.quantity, claimed.hold_seconds, claimed.customer
     FROM claimed CROSS JOIN order_lines line ON line.order_id = claimed.id
     ORDER BY claimed.id, line.line_no";

pub(super) const WRITE_DECISIONS: &str = "UPDATE orders
     SET status = CASE WHEN d.code IS NOT NULL THEN 'failed' WHEN d.held_at IS NOT NULL THEN 'held'
                       ELSE 'success' END,
         held_at = d.held_at, held_until = d.held_until,
         failure_code = d.code, failure_product_id = unhex(d.product_id),
         failure_requested = d.requested, failure_available = d.available,
         failure_detail = d.detail,
         decided_at = $2,
         task_batch = CASE WHEN d.code IS NULL AND d.held_at IS NULL THEN $3 END
     FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS code, value ->> 2 AS product_id,
                  value ->> 3 AS requested, value ->> 4 AS available, value ->> 5 AS held_at,
                  value ->> 6 AS held_until, value ->> 7 AS detail
           FROM json_each($1)) AS d
     WHERE orders.id = d.id AND orders.status = 'pending'";
