-- Keys by which clients make requests again: each is kept with what its first request made, in
-- the same transaction, and for as long.
CREATE TABLE idempotency_keys (
    -- The API key of the caller; all zeros where none is asked for.
    scope       uuid        NOT NULL,
    key         text        NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    -- SHA-256 of what was asked for.
    fingerprint bytea       NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    -- The order, or the stock adjustment, that the request made or changed.
    target_id   uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
