-- Clients: who calls. A client has keys, and what its orders and its idempotency keys belong to
-- stays when a key is replaced.

CREATE TABLE clients (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT    NOT NULL CONSTRAINT clients_name_unique UNIQUE
                       CONSTRAINT clients_name_length CHECK (length(name) BETWEEN 1 AND 255),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each key that is there becomes a client with its id: idempotency keys, which were kept under
-- that, stay valid. Of keys with one name, the newest that is in force keeps it.
INSERT INTO clients (id, name, created_at)
SELECT id, CASE WHEN place = 1 THEN name ELSE substr(name, 1, 200) || ' ' || lower(hex(id)) END,
       created_at
FROM (SELECT *, row_number() OVER (PARTITION BY name ORDER BY revoked_at IS NULL DESC, id DESC) AS place
      FROM api_keys);

CREATE TABLE new_api_keys (
    id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT    NOT NULL CONSTRAINT api_keys_name_length CHECK (length(name) BETWEEN 1 AND 255),
    -- SHA-256 of the key, which is kept nowhere.
    hash         BLOB    NOT NULL CONSTRAINT api_keys_hash_unique UNIQUE
                         CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32),
    scopes       TEXT    NOT NULL CONSTRAINT api_keys_scopes_given CHECK (scopes <> '')
                         CONSTRAINT api_keys_scopes_known CHECK (trim(replace(replace(replace(replace(
                             replace(replace(scopes, 'read', ''), 'orders', ''), 'products', ''),
                             'admin', ''), 'metrics', ''), 'operate', '')) = ''),
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    -- Null for a key that an older program made: it is a client of its own.
    client_id    BLOB    REFERENCES clients (id),
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO new_api_keys (id, name, hash, scopes, created_at, revoked_at, client_id)
SELECT id, name, hash, scopes, created_at, revoked_at, id FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE new_api_keys RENAME TO api_keys;

-- What every server reads every few seconds.
CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;

-- Whose key placed the order. Null where none was asked for, and before this was here.
ALTER TABLE orders ADD COLUMN client_id BLOB;
CREATE INDEX orders_client ON orders (client_id, id) WHERE client_id IS NOT NULL;
