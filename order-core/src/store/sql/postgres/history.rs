//! The statements over orders that are at their end.

use crate::store::sql::{
    history_statements::{
        carry_counts, carry_purchases, carry_sales, history_statements, product_sums,
    },
    rows::order_columns,
    statements::HistoryStatements,
    verify::{cancelled, milestones},
};

pub(super) const STATEMENTS: HistoryStatements = history_statements!("= ANY($1)", "greatest", {
    young_keys: "SELECT target_id FROM idempotency_keys
             WHERE target_id >= $1 AND target_id <= $2
               AND created_at > (SELECT clock_timestamp() - $3::bigint * interval '1 microsecond')",
    old_keys: "SELECT scope, key, target_id FROM idempotency_keys
             WHERE target_id >= $1 AND target_id <= $2
               AND created_at <= (SELECT clock_timestamp() - $3::bigint * interval '1 microsecond')",
    lock: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE"
    ),
    lock_of_customer: "SELECT id FROM orders WHERE customer = $1 ORDER BY id LIMIT $2 FOR UPDATE",
    delete_returns: "DELETE FROM stock_returns r
             USING unnest($1::uuid[], $2::uuid[]) AS gone (product_id, id)
             WHERE r.product_id = gone.product_id AND r.id = gone.id",
    delete_keys: "DELETE FROM idempotency_keys k
             USING unnest($1::uuid[], $2::text[]) AS gone (scope, key)
             WHERE k.scope = gone.scope AND k.key = gone.key",
    empty_keys: "UPDATE idempotency_keys k SET fingerprint = $3
             FROM unnest($1::uuid[], $2::text[]) AS emptied (scope, key)
             WHERE k.scope = emptied.scope AND k.key = emptied.key",
});
