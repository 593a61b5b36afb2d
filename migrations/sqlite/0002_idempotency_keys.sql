-- Keys by which clients make requests again: each is kept with what its first request made, in
-- the same transaction, and for as long.
CREATE TABLE idempotency_keys (
    -- The API key of the caller; all zeros where none is asked for.
    scope       BLOB    NOT NULL CHECK (length(scope) = 16),
    key         TEXT    NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 of what was asked for.
    fingerprint BLOB    NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    -- The order, or the stock adjustment, that the request made or changed.
    target_id   BLOB    NOT NULL CHECK (length(target_id) = 16),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
