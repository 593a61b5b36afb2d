//! Holds: the statements that confirm, extend and expire them.

use crate::store::sql::{rows::order_columns, statements::HoldStatements};

/// A clock that is asked in a subquery is asked once, and is the end of a range in an index.
pub(super) const STATEMENTS: HoldStatements = HoldStatements {
    lapsed: "SELECT held_until, order_id FROM holds
         WHERE held_until <= (SELECT clock_timestamp()) AND (held_until, order_id) > ($1, $2)
         ORDER BY held_until, order_id LIMIT $3",
    lapsed_of: "SELECT hold.order_id FROM unnest($1::uuid[]) AS short (id),
             LATERAL (SELECT order_id FROM holds
                      WHERE product_id = short.id AND held_until <= $3
                      ORDER BY held_until LIMIT $2) hold",
    lock_lapsed: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders
         WHERE id = ANY($1) AND status::text = 'held' AND held_until <= clock_timestamp()
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
    ),
    lock_free_products: "WITH locked AS MATERIALIZED (
             SELECT id, price, stock, archived_at IS NOT NULL AS archived, lapses_at,
                    limit_per_customer, on_sale_from, on_sale_until
             FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         SELECT *, clock_timestamp() AS read_at FROM locked",
    expire: "WITH expired AS (
             UPDATE orders SET status = 'expired'
             WHERE id = ANY($1) AND status::text = 'held' RETURNING id),
         counters AS (
             INSERT INTO order_counters (expired)
             SELECT count(*) FROM expired HAVING count(*) > 0)
         SELECT id FROM expired",
    remove: "DELETE FROM holds WHERE order_id = ANY($1)",
    refresh: "UPDATE products
         SET lapses_at = (SELECT held_until FROM holds WHERE product_id = products.id
                          ORDER BY held_until LIMIT 1)
         WHERE id = ANY($1)",
    now: "SELECT clock_timestamp()",
};

/// The index gives the rows in id order: they are locked in it. The time is asked once a row is
/// locked, also of one that somebody else was changing.
pub(super) const CONFIRM: &str = "
    WITH confirmed AS (
        UPDATE orders SET status = 'success', confirmed_at = $2
        WHERE id = ANY($1) AND status::text = 'held' AND held_until > clock_timestamp()
        RETURNING id),
    gone AS (DELETE FROM holds WHERE order_id = ANY(ARRAY(SELECT id FROM confirmed))),
    tasks AS (
        INSERT INTO task_batches (sold_at, order_ids)
        SELECT $2, array_agg(id) FROM confirmed HAVING count(*) > 0),
    counters AS (
        INSERT INTO order_counters (sold, confirmed)
        SELECT count(*), count(*) FROM confirmed HAVING count(*) > 0)
    SELECT id FROM confirmed";
