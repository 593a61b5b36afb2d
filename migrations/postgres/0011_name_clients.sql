-- Clients: who calls. A client has keys, and what its orders and its idempotency keys belong to
-- stays when a key is replaced.

CREATE TABLE clients (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CONSTRAINT clients_name_unique UNIQUE
                           CONSTRAINT clients_name_length CHECK (char_length(name) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL
);

-- Each key that is there becomes a client with its id: idempotency keys, which were kept under
-- that, stay valid. Of keys with one name, the newest that is in force keeps it.
INSERT INTO clients (id, name, created_at)
SELECT id, CASE WHEN place = 1 THEN name ELSE left(name, 200) || ' ' || id END, created_at
FROM (SELECT *, row_number() OVER (PARTITION BY name
                                   ORDER BY (revoked_at IS NULL) DESC, id DESC) AS place
      FROM api_keys) AS named;

ALTER TABLE api_keys
    -- Null for a key that an older program made: it is a client of its own.
    ADD COLUMN client_id    uuid REFERENCES clients (id),
    ADD COLUMN expires_at   timestamptz,
    ADD COLUMN last_used_at timestamptz,
    DROP CONSTRAINT api_keys_scopes_known,
    ADD CONSTRAINT api_keys_scopes_known CHECK (
        scopes ~ '^(read|orders|products|admin|metrics|operate)( (read|orders|products|admin|metrics|operate))*$');
UPDATE api_keys SET client_id = id;

-- Whose key placed the order. Null where none was asked for, and before this was here.
ALTER TABLE orders ADD COLUMN client_id uuid;
CREATE INDEX orders_client ON orders (client_id, id) WHERE client_id IS NOT NULL;
