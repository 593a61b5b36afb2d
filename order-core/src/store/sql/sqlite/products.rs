//! Products: the statements that find and change them.

use crate::store::sql::{
    rows::product_columns,
    sorted::{Sorted, sorted},
    statements::ProductStatements,
    stock_history::{stock_by_minute, stock_history},
};

/// The orders that took pieces of a product. `CROSS JOIN` keeps the planner to the way along the lines.
macro_rules! sales {
    () => {
        "SELECT order_id AS id,
                CASE WHEN held_at IS NOT NULL AND confirmed_at IS NULL THEN 'hold' ELSE 'sale' END,
                -sum(quantity), NULL, order_id, NULL, NULL, decided_at
         FROM order_lines CROSS JOIN orders ON orders.id = order_id
         WHERE product_id = $1 AND order_id < $2 AND order_id >= $4
           AND (status IN ('held', 'success', 'completed', 'expired')
             OR status = 'cancelled' AND decided_at IS NOT NULL AND cancelled_quantities IS NOT NULL)
         GROUP BY order_id"
    };
}

/// The write lock of the file is the lock of every product.
pub(super) const STATEMENTS: ProductStatements = ProductStatements {
    lock: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products WHERE id = $1 AND archived_at IS NULL"
    ),
    lock_stock: "SELECT id, price, stock, archived_at IS NOT NULL AS archived, lapses_at,
                limit_per_customer, on_sale_from, on_sale_until, $2 AS read_at FROM products
         WHERE id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY id",
    lock_free: LIVING,
    lock_all: LIVING,
    by_skus: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products
         WHERE sku IN (SELECT value FROM json_each($1)) AND archived_at IS NULL"
    ),
    living: LIVING,
    by_ids: concat!(
        "SELECT ",
        product_columns!(""),
        " FROM products
         WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND archived_at IS NULL
         ORDER BY id DESC"
    ),
    prices: "SELECT id, price, limit_per_customer IS NOT NULL FROM products
         WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND archived_at IS NULL",
    stock_history: stock_history!(sales),
    stock_by_minute: stock_by_minute!("max(id)", "CAST(sum(delta) AS integer)", sales),
    unfolded: "SELECT id, name FROM products
         WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
           AND name_folded_of IS NOT name AND id > $1
         ORDER BY id LIMIT $2",
};

const LIVING: &str = concat!(
    "SELECT ",
    product_columns!(""),
    " FROM products
     WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND archived_at IS NULL"
);

/// A condition of the primary key in any case: `$1 IS NULL OR …` would be none.
macro_rules! page {
    ($after:literal, $direction:literal) => {
        concat!(
            "SELECT ",
            product_columns!(""),
            " FROM products
     WHERE archived_at IS NULL AND id ",
            $after,
            " $1
       AND ($2 IS NULL OR instr(CASE WHEN name_folded_of = name THEN name_folded
                                     ELSE lower(name) END, $2) > 0)
     ORDER BY id ",
            $direction,
            " LIMIT $3 OFFSET $4"
        )
    };
}
pub(super) const PAGE: Sorted = sorted!(page);

pub(super) const COUNT: &str = "SELECT count(*) FROM (
         SELECT 1 FROM products
         WHERE archived_at IS NULL
           AND ($1 IS NULL OR instr(CASE WHEN name_folded_of = name THEN name_folded
                                         ELSE lower(name) END, $1) > 0)
         LIMIT $2)";

pub(super) const HAS_UNFOLDED: &str = "SELECT EXISTS (SELECT 1 FROM products
         WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
           AND name_folded_of IS NOT name)";

pub(super) const WRITE_FOLDS: &str =
    "UPDATE products SET name_folded = fold.name, name_folded_of = products.name
     FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS name FROM json_each($1)) AS fold
     WHERE products.id = fold.id";

pub(super) const TAKE_STOCK: &str = concat!(
    "UPDATE products SET stock = stock - t.pieces, version = version + 1, updated_at = $2,
            lapses_at = CASE WHEN lapses_at < $3 OR $3 IS NULL THEN lapses_at ELSE $3 END
     FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS pieces FROM json_each($1)) AS t
     WHERE products.id = t.id RETURNING ",
    product_columns!("")
);
