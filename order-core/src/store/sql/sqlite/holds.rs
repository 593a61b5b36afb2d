//! Holds: the statements that confirm, extend and expire them.

use crate::store::sql::{rows::order_columns, statements::HoldStatements};

/// The write lock of the file is the lock of every order. Triggers count.
pub(super) const STATEMENTS: HoldStatements = HoldStatements {
    lapsed: "SELECT held_until, order_id FROM holds
         WHERE held_until <= $4 AND (held_until, order_id) > ($1, $2)
         ORDER BY held_until, order_id LIMIT $3",
    lapsed_of: "SELECT order_id FROM holds
         WHERE product_id IN (SELECT unhex(value) FROM json_each($1)) AND held_until <= $3
         ORDER BY held_until LIMIT $2",
    lock_lapsed: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders
         WHERE id IN (SELECT unhex(value) FROM json_each($1))
           AND status = 'held' AND held_until <= $2 ORDER BY id"
    ),
    lock_free_products: super::products::STATEMENTS.lock_stock,
    expire: "UPDATE orders SET status = 'expired'
         WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND status = 'held' RETURNING id",
    remove: "DELETE FROM holds WHERE order_id IN (SELECT unhex(value) FROM json_each($1))",
    refresh: "UPDATE products
         SET lapses_at = (SELECT held_until FROM holds WHERE product_id = products.id
                          ORDER BY held_until LIMIT 1)
         WHERE id IN (SELECT unhex(value) FROM json_each($1))",
    now: "SELECT $1",
};

pub(super) const CONFIRMABLE: &str = "SELECT id FROM orders
     WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND status = 'held' AND held_until > $2
     ORDER BY id";

pub(super) const CONFIRM: &str = "UPDATE orders
     SET status = 'success', confirmed_at = $2, task_batch = $3
     WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND status = 'held'";
