//! The statements over orders that are at their end. `CROSS JOIN` keeps the order of the loops: one
//! lookup for each key.

use super::orders;
use crate::store::sql::{
    history_statements::{
        carry_counts, carry_purchases, carry_sales, history_statements, product_sums,
    },
    statements::HistoryStatements,
    verify::{cancelled, milestones},
};

pub(super) const STATEMENTS: HistoryStatements = history_statements!(
    "IN (SELECT unhex(value) FROM json_each($1))",
    "max",
    {
        young_keys: "SELECT target_id FROM idempotency_keys
             WHERE target_id >= $1 AND target_id <= $2 AND created_at > $3",
        old_keys: "SELECT scope, key, target_id FROM idempotency_keys
             WHERE target_id >= $1 AND target_id <= $2 AND created_at <= $3",
        lock: orders::STATEMENTS.read,
        lock_of_customer: "SELECT id FROM orders WHERE customer = $1 ORDER BY id LIMIT $2",
        delete_returns: "DELETE FROM stock_returns WHERE (product_id, id) IN (
             SELECT unhex(product.value), unhex(back.value)
             FROM json_each($1) product CROSS JOIN json_each($2) back ON back.key = product.key)",
        delete_keys: "DELETE FROM idempotency_keys WHERE (scope, key) IN (
             SELECT unhex(scope.value), gone.value
             FROM json_each($1) scope CROSS JOIN json_each($2) gone ON gone.key = scope.key)",
        empty_keys: "UPDATE idempotency_keys SET fingerprint = $3 WHERE (scope, key) IN (
             SELECT unhex(scope.value), emptied.value
             FROM json_each($1) scope CROSS JOIN json_each($2) emptied ON emptied.key = scope.key)",
    }
);
