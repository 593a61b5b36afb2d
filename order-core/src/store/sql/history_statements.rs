//! The statements over history whose text differs between databases only in how they name orders by
//! their ids (`$1`), and the greater of two ids.

/// Of each product of some orders: lines, pieces, those that the orders keep and those that they gave
/// back, as verifying counts them, and when the last of the orders was accepted.
macro_rules! product_sums {
    ($ids:literal) => {
        concat!(
            "SELECT l.product_id AS id, count(*) AS lines, CAST(sum(l.quantity) AS bigint) AS quantity,
                    CAST(sum(CASE WHEN o.status IN ('held', 'success', 'completed')
                                  THEN l.quantity - ",
            cancelled!(),
            " ELSE 0 END) AS bigint) AS kept,
                    CAST(sum(CASE WHEN o.decided_at IS NULL THEN 0
                                  WHEN o.status = 'expired' THEN l.quantity
                                  ELSE ",
            cancelled!(),
            " END) AS bigint) AS returned,
                    max(o.created_at) AS last_at
             FROM orders o JOIN order_lines l ON l.order_id = o.id
             WHERE o.id ",
            $ids,
            " GROUP BY l.product_id"
        )
    };
}
pub(super) use product_sums;

/// Adds what orders took of each product and gave back to what stays of them; `$2` is the last of them.
macro_rules! carry_sales {
    ($ids:literal, $greatest:literal) => {
        concat!(
            "INSERT INTO archived_sales (product_id, lines, kept, returned, last_order_id, last_at)
             SELECT id, lines, kept, returned, $2, last_at FROM (",
            product_sums!($ids),
            ") sums WHERE lines > 0 ORDER BY id
             ON CONFLICT (product_id) DO UPDATE
             SET lines = archived_sales.lines + excluded.lines,
                 kept = archived_sales.kept + excluded.kept,
                 returned = archived_sales.returned + excluded.returned,
                 last_order_id = ",
            $greatest,
            "(archived_sales.last_order_id, excluded.last_order_id),
                 last_at = ",
            $greatest,
            "(archived_sales.last_at, excluded.last_at)"
        )
    };
}
pub(super) use carry_sales;

/// Adds what customers keep of products in orders to what counts towards limits.
macro_rules! carry_purchases {
    ($ids:literal) => {
        concat!(
            "INSERT INTO archived_purchases (customer, product_id, pieces)
             SELECT customer, product_id, pieces FROM (
                 SELECT o.customer, l.product_id, CAST(sum(l.quantity - ",
            cancelled!(),
            ") AS bigint) AS pieces
                 FROM orders o JOIN order_lines l ON l.order_id = o.id
                 WHERE o.id ",
            $ids,
            " AND o.customer IS NOT NULL AND o.status IN ('held', 'success', 'completed')
                 GROUP BY o.customer, l.product_id) bought
             WHERE pieces > 0 ORDER BY customer, product_id
             ON CONFLICT (customer, product_id) DO UPDATE
             SET pieces = archived_purchases.pieces + excluded.pieces"
        )
    };
}
pub(super) use carry_purchases;

/// Counts orders that go, and their lines, in the sealed file `$2`.
macro_rules! carry_counts {
    ($ids:literal) => {
        concat!(
            "UPDATE archive_files AS f
             SET lines = f.lines + c.lines, accepted = f.accepted + c.accepted,
                 sold = f.sold + c.sold, failed = f.failed + c.failed,
                 completed = f.completed + c.completed, cancelled = f.cancelled + c.cancelled,
                 returned = f.returned + c.returned, held = f.held + c.held,
                 confirmed = f.confirmed + c.confirmed, expired = f.expired + c.expired,
                 released = f.released + c.released
             FROM (SELECT ",
            milestones!(),
            ", (SELECT count(*) FROM order_lines WHERE order_id ",
            $ids,
            ") AS lines FROM orders WHERE id ",
            $ids,
            ") c
             WHERE f.number = $2 AND f.is_open AND f.sha256 IS NOT NULL"
        )
    };
}
pub(super) use carry_counts;

/// The statements of a database, of which `$ids` is the condition that an id is one of `$1`.
macro_rules! history_statements {
    ($ids:literal, $greatest:literal, { $($own:tt)* }) => {
        HistoryStatements {
            sums: product_sums!($ids),
            entries: concat!(
                "SELECT order_id FROM queue_entries
                 WHERE topic IN ('validate', 'process') AND order_id ", $ids
            ),
            carry_sales: carry_sales!($ids, $greatest),
            carry_purchases: carry_purchases!($ids),
            carry_counts: carry_counts!($ids),
            delete_lines: concat!("DELETE FROM order_lines WHERE order_id ", $ids),
            delete_attempts: concat!("DELETE FROM process_attempts WHERE order_id ", $ids),
            delete_orders: concat!("DELETE FROM orders WHERE id ", $ids),
            keys_of: concat!(
                "SELECT scope, key, target_id FROM idempotency_keys WHERE target_id ", $ids
            ),
            empty_orders: concat!(
                "UPDATE orders SET customer = NULL, reference = NULL WHERE id ", $ids
            ),
            empty_attempts: concat!(
                "UPDATE process_attempts SET error = 'erased' WHERE order_id ", $ids
            ),
            $($own)*
        }
    };
}
pub(super) use history_statements;
