//! API keys: the statements that ask the clock.

use crate::store::sql::{keys::key_columns, statements::KeyStatements};

pub(super) const STATEMENTS: KeyStatements = KeyStatements {
    active: concat!(
        "SELECT ",
        key_columns!(),
        ", coalesce(expires_at <= $1, false) AS is_expired
         FROM api_keys WHERE revoked_at IS NULL ORDER BY id"
    ),
    note_use: "UPDATE api_keys SET last_used_at = $3
         WHERE id IN (SELECT unhex(value) FROM json_each($1))
           AND coalesce(last_used_at <= $2, true)",
};
