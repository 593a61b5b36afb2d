//! API keys: the statements that ask the clock.

use crate::store::sql::{keys::key_columns, statements::KeyStatements};

pub(super) const STATEMENTS: KeyStatements = KeyStatements {
    active: concat!(
        "SELECT ",
        key_columns!(),
        ", coalesce(expires_at <= clock_timestamp(), false) AS is_expired
         FROM api_keys WHERE revoked_at IS NULL ORDER BY id"
    ),
    // A key that another server notes the use of right now is noted.
    note_use: "UPDATE api_keys SET last_used_at = clock_timestamp()
         WHERE id IN (SELECT id FROM api_keys WHERE id = ANY($1) AND coalesce(
                          last_used_at <= clock_timestamp() - $2::bigint * interval '1 microsecond',
                          true)
                      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)",
};
