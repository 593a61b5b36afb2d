-- Products, orders, their lines, and the ledger of stock that did not come from orders.
-- Ids are the 16 bytes of a UUID, times are microseconds since 1970, money is in 1/100.

CREATE TABLE products (
    id          BLOB    PRIMARY KEY CHECK (length(id) = 16),
    sku         TEXT    CONSTRAINT products_sku_length CHECK (length(sku) BETWEEN 1 AND 64),
    name        TEXT    NOT NULL CONSTRAINT products_name_length CHECK (length(name) BETWEEN 1 AND 255),
    price       INTEGER NOT NULL CONSTRAINT products_price_range CHECK (price BETWEEN 0 AND 9999999999),
    stock       INTEGER NOT NULL CONSTRAINT products_stock_range CHECK (stock BETWEEN 0 AND 1000000000000),
    version     INTEGER NOT NULL DEFAULT 1 CONSTRAINT products_version_positive CHECK (version >= 1),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    archived_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX products_sku_unique ON products (sku) WHERE archived_at IS NULL;

CREATE TABLE stock_adjustments (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    product_id BLOB    NOT NULL REFERENCES products (id),
    delta      INTEGER NOT NULL CONSTRAINT stock_adjustments_delta_range
                       CHECK (delta BETWEEN -1000000000000 AND 1000000000000),
    reason     TEXT    NOT NULL CONSTRAINT stock_adjustments_reason_length CHECK (length(reason) BETWEEN 1 AND 255),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX stock_adjustments_product ON stock_adjustments (product_id, id);

CREATE TABLE orders (
    id                 BLOB    PRIMARY KEY CHECK (length(id) = 16),
    status             TEXT    NOT NULL CONSTRAINT orders_status_known
                               CHECK (status IN ('pending', 'success', 'failed', 'cancelled', 'completed')),
    total_price        INTEGER NOT NULL CONSTRAINT orders_total_price_range CHECK (total_price >= 0),
    reference          TEXT    CONSTRAINT orders_reference_length CHECK (length(reference) <= 255),
    failure_code       TEXT    CONSTRAINT orders_failure_code_known CHECK (failure_code IN ('insufficient_stock', 'product_unavailable')),
    failure_product_id BLOB,
    failure_requested  INTEGER CONSTRAINT orders_failure_requested_range CHECK (failure_requested >= 1),
    failure_available  INTEGER CONSTRAINT orders_failure_available_range CHECK (failure_available >= 0 AND failure_available < failure_requested),
    created_at         INTEGER NOT NULL,
    decided_at         INTEGER,
    completed_at       INTEGER,
    cancelled_at       INTEGER,
    CONSTRAINT orders_times_match_status CHECK (
        CASE status
            WHEN 'pending'   THEN decided_at IS NULL AND completed_at IS NULL AND cancelled_at IS NULL
            WHEN 'completed' THEN decided_at IS NOT NULL AND completed_at IS NOT NULL AND cancelled_at IS NULL
            WHEN 'cancelled' THEN completed_at IS NULL AND cancelled_at IS NOT NULL
            ELSE decided_at IS NOT NULL AND completed_at IS NULL AND cancelled_at IS NULL
        END),
    CONSTRAINT orders_failure_matches_status CHECK (
        (failure_code IS NOT NULL) + (failure_product_id IS NOT NULL)
            + (failure_requested IS NOT NULL) + (failure_available IS NOT NULL)
            = CASE WHEN status = 'failed' THEN 4 ELSE 0 END)
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_pending ON orders (id) WHERE status = 'pending';
CREATE INDEX orders_failed ON orders (id) WHERE status = 'failed';
CREATE INDEX orders_cancelled ON orders (id) WHERE status = 'cancelled';
CREATE INDEX orders_reference ON orders (reference, id) WHERE reference IS NOT NULL;

CREATE TABLE order_lines (
    order_id   BLOB    NOT NULL REFERENCES orders (id),
    line_no    INTEGER NOT NULL CONSTRAINT order_lines_line_no_range CHECK (line_no BETWEEN 1 AND 100),
    product_id BLOB    NOT NULL REFERENCES products (id),
    quantity   INTEGER NOT NULL CONSTRAINT order_lines_quantity_range CHECK (quantity BETWEEN 1 AND 1000000),
    unit_price INTEGER NOT NULL CONSTRAINT order_lines_unit_price_range CHECK (unit_price BETWEEN 0 AND 9999999999),
    PRIMARY KEY (order_id, line_no)
) STRICT, WITHOUT ROWID;

CREATE INDEX order_lines_product ON order_lines (product_id, order_id);

CREATE TABLE queue_entries (
    topic      TEXT    NOT NULL CONSTRAINT queue_entries_topic_known CHECK (topic IN ('validate', 'process')),
    order_id   BLOB    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0 CONSTRAINT queue_entries_attempts_range CHECK (attempts >= 0),
    visible_at INTEGER NOT NULL,
    claim_id   BLOB,
    dead_at    INTEGER,
    reason     TEXT,
    PRIMARY KEY (topic, order_id),
    CONSTRAINT queue_entries_dead_is_unclaimed CHECK (dead_at IS NULL OR claim_id IS NULL)
) STRICT, WITHOUT ROWID;

-- Topics that give out nothing for now.
CREATE TABLE queue_pauses (
    topic TEXT PRIMARY KEY CONSTRAINT queue_pauses_topic_known CHECK (topic IN ('validate', 'process'))
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_entries_claimable ON queue_entries (topic, visible_at, order_id) WHERE dead_at IS NULL;

-- Keys of the API. They are revoked and never deleted: a database that ever had one is closed.
CREATE TABLE api_keys (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT    NOT NULL CONSTRAINT api_keys_name_length CHECK (length(name) BETWEEN 1 AND 255),
    -- SHA-256 of the key, which is kept nowhere.
    hash       BLOB    NOT NULL CONSTRAINT api_keys_hash_unique UNIQUE
                       CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32),
    scopes     TEXT    NOT NULL CONSTRAINT api_keys_scopes_given CHECK (scopes <> '')
                       CONSTRAINT api_keys_scopes_known CHECK (trim(replace(replace(replace(replace(
                           scopes, 'read', ''), 'orders', ''), 'products', ''), 'admin', '')) = ''),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- What every server reads every few seconds.
CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;
