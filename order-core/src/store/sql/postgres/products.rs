//! Products: the statements that lock and find them.

use crate::store::sql::{
    rows::product_columns,
    sorted::{Sorted, sorted},
    statements::ProductStatements,
    stock_history::{stock_by_minute, stock_history},
};

/// The orders that took pieces of a product. `OFFSET 0` keeps the planner to the way along the lines.
macro_rules! sales {
    () => {
        "SELECT order_id AS id, taken.kind, -pieces, CAST(NULL AS text), order_id,
                CAST(NULL AS text), CAST(NULL AS uuid), decided_at
         FROM (SELECT order_id, CAST(sum(quantity) AS bigint) AS pieces FROM order_lines
               WHERE product_id = $1 AND order_id < $2 AND order_id >= $4
               GROUP BY order_id ORDER BY order_id DESC) line
         CROSS JOIN LATERAL (
             SELECT decided_at, CASE WHEN held_at IS NOT NULL AND confirmed_at IS NULL
                                     THEN 'hold' ELSE 'sale' END AS kind
             FROM orders
             WHERE id = line.order_id AND (status IN ('held', 'success', 'completed', 'expired')
                 OR status = 'cancelled' AND decided_at IS NOT NULL
                    AND cancelled_quantities IS NOT NULL)
             OFFSET 0) taken"
    };
}

pub(super) const STATEMENTS: ProductStatements = ProductStatements {
    lock: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = $1 AND archived_at IS NULL FOR NO KEY UPDATE"
    ),
    lock_free: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = ANY($1) AND archived_at IS NULL
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
    ),
    lock_all: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = ANY($1) AND archived_at IS NULL
         ORDER BY id FOR NO KEY UPDATE"
    ),
    by_skus: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE sku = ANY($1) AND archived_at IS NULL"
    ),
    lock_stock: LOCK,
    living: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = ANY($1) AND archived_at IS NULL ORDER BY id FOR SHARE"
    ),
    by_ids: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = ANY($1) AND archived_at IS NULL ORDER BY id DESC"
    ),
    prices: "SELECT id, price, limit_per_customer IS NOT NULL FROM products
         WHERE id = ANY($1) AND archived_at IS NULL",
    stock_history: stock_history!(sales),
    stock_by_minute: stock_by_minute!(
        "CAST(max(CAST(id AS text) COLLATE \"C\") AS uuid)",
        "CAST(sum(delta) AS bigint)",
        sales
    ),
    unfolded: "SELECT id, name FROM products
         WHERE archived_at IS NULL AND octet_length(name) <> char_length(name)
           AND name_folded_of IS DISTINCT FROM name AND id > $1
         ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
};

/// The lock is taken above the sort, so that rows are locked in the order they come in. The clock is
/// asked above the lock: with the last row, all are locked.
pub(crate) const LOCK: &str = "WITH locked AS MATERIALIZED (
         SELECT id, price, stock, archived_at IS NOT NULL AS archived, lapses_at,
                limit_per_customer, on_sale_from, on_sale_until
         FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE)
     SELECT *, clock_timestamp() AS read_at FROM locked";

/// A condition of the primary key in any case: `$1 IS NULL OR …` would be none, and a page far back
/// would walk past all that is newer.
macro_rules! page {
    ($after:literal, $direction:literal) => {
        concat!(
            "SELECT ",
            product_columns!(""),
            " FROM products WHERE archived_at IS NULL AND id ",
            $after,
            " $1 ORDER BY id ",
            $direction,
            " LIMIT $2 OFFSET $3"
        )
    };
}
pub(super) const PAGE: Sorted = sorted!(page);

/// One that was archived a moment ago is shown all the same: the page stays as long as it was found
/// to be, and goes on where it ends.
macro_rules! named {
    ($after:literal, $direction:literal) => {
        concat!(
            "SELECT ",
            product_columns!(""),
            " FROM products WHERE id = ANY($1) ORDER BY id ",
            $direction
        )
    };
}
pub(super) const NAMED: Sorted = sorted!(named);

pub(super) const COUNT: &str = "SELECT count(*) FROM (
         SELECT 1 FROM products WHERE archived_at IS NULL LIMIT $1) counted";

pub(super) const WRITE_FOLDS: &str =
    "UPDATE products SET name_folded = fold.name, name_folded_of = products.name
     FROM unnest($1::uuid[], $2::text[]) AS fold (id, name) WHERE products.id = fold.id";
