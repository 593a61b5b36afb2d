-- Products, orders, their lines, and the ledger of stock that did not come from orders.
-- Whatever a check can say, a check says: the code above may be wrong, the books may not.

CREATE TYPE order_status AS ENUM ('pending', 'success', 'failed', 'cancelled', 'completed');

CREATE TABLE products (
    id          uuid        PRIMARY KEY,
    sku         text        CONSTRAINT products_sku_length CHECK (char_length(sku) BETWEEN 1 AND 64),
    name        text        NOT NULL CONSTRAINT products_name_length CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Minor units: 1/100.
    price       bigint      NOT NULL CONSTRAINT products_price_range CHECK (price BETWEEN 0 AND 9999999999),
    stock       bigint      NOT NULL CONSTRAINT products_stock_range CHECK (stock BETWEEN 0 AND 1000000000000),
    version     bigint      NOT NULL DEFAULT 1 CONSTRAINT products_version_positive CHECK (version >= 1),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    archived_at timestamptz
) WITH (fillfactor = 50); -- A hot product's row is rewritten all the time: room for HOT updates.

CREATE UNIQUE INDEX products_sku_unique ON products (sku) WHERE archived_at IS NULL;

CREATE TABLE stock_adjustments (
    id         uuid        PRIMARY KEY,
    product_id uuid        NOT NULL REFERENCES products (id),
    delta      bigint      NOT NULL CONSTRAINT stock_adjustments_delta_range
                           CHECK (delta BETWEEN -1000000000000 AND 1000000000000),
    reason     text        NOT NULL CONSTRAINT stock_adjustments_reason_length CHECK (char_length(reason) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL
);

CREATE INDEX stock_adjustments_product ON stock_adjustments (product_id, id);

CREATE TABLE orders (
    id                 uuid         PRIMARY KEY,
    status             order_status NOT NULL,
    total_price        bigint       NOT NULL CONSTRAINT orders_total_price_range CHECK (total_price >= 0),
    reference          text         CONSTRAINT orders_reference_length CHECK (char_length(reference) <= 255),
    failure_code       text         CONSTRAINT orders_failure_code_known CHECK (failure_code IN ('insufficient_stock', 'product_unavailable')),
    failure_product_id uuid,
    failure_requested  bigint       CONSTRAINT orders_failure_requested_range CHECK (failure_requested >= 1),
    failure_available  bigint       CONSTRAINT orders_failure_available_range CHECK (failure_available >= 0 AND failure_available < failure_requested),
    created_at         timestamptz  NOT NULL,
    decided_at         timestamptz,
    completed_at       timestamptz,
    cancelled_at       timestamptz,
    CONSTRAINT orders_times_match_status CHECK (
        CASE status
            WHEN 'pending'   THEN decided_at IS NULL AND completed_at IS NULL AND cancelled_at IS NULL
            WHEN 'completed' THEN decided_at IS NOT NULL AND completed_at IS NOT NULL AND cancelled_at IS NULL
            WHEN 'cancelled' THEN completed_at IS NULL AND cancelled_at IS NOT NULL
            ELSE decided_at IS NOT NULL AND completed_at IS NULL AND cancelled_at IS NULL
        END),
    CONSTRAINT orders_failure_matches_status CHECK (
        num_nonnulls(failure_code, failure_product_id, failure_requested, failure_available)
            = CASE WHEN status = 'failed' THEN 4 ELSE 0 END)
);

-- The queue of undecided orders: claimed from its head, oldest first. Pending is the least
-- state. No other index has the order (status, id), so that no plan can look for the head of
-- the queue along the primary key, past everything that was ever decided.
CREATE INDEX orders_pending ON orders (status, id) WHERE status <= 'pending';
-- The rare outcomes, for lists by status; the common ones are found along the primary key.
CREATE INDEX orders_failed ON orders (id) WHERE status = 'failed';
CREATE INDEX orders_cancelled ON orders (id) WHERE status = 'cancelled';
CREATE INDEX orders_reference ON orders (reference, id) WHERE reference IS NOT NULL;

CREATE TABLE order_lines (
    order_id   uuid     NOT NULL,
    line_no    smallint NOT NULL CONSTRAINT order_lines_line_no_range CHECK (line_no BETWEEN 1 AND 100),
    product_id uuid     NOT NULL,
    quantity   integer  NOT NULL CONSTRAINT order_lines_quantity_range CHECK (quantity BETWEEN 1 AND 1000000),
    unit_price bigint   NOT NULL CONSTRAINT order_lines_unit_price_range CHECK (unit_price BETWEEN 0 AND 9999999999),
    PRIMARY KEY (order_id, line_no)
);

CREATE INDEX order_lines_product ON order_lines (product_id, order_id);

-- What foreign keys of order_lines would guard, at a fifth of their price: they look up each
-- row by itself, which takes longer than inserting it. Lines are checked once per statement
-- when they come; what they refer to cannot go, and neither can its id change.
CREATE FUNCTION order_lines_refer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT product_id FROM new_lines) line
               WHERE NOT EXISTS (SELECT FROM products WHERE id = line.product_id)) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a line refers to no product', CONSTRAINT = 'order_lines_product_exists';
    END IF;
    IF EXISTS (SELECT FROM new_lines line
               WHERE NOT EXISTS (SELECT FROM orders WHERE id = line.order_id)) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a line refers to no order', CONSTRAINT = 'order_lines_order_exists';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER order_lines_refer AFTER INSERT ON order_lines
    REFERENCING NEW TABLE AS new_lines FOR EACH STATEMENT EXECUTE FUNCTION order_lines_refer();

CREATE FUNCTION history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE restrict_violation USING
        MESSAGE = format('%s of %I: history stays', lower(TG_OP), TG_TABLE_NAME);
END $$;

CREATE TRIGGER products_stay BEFORE DELETE OR TRUNCATE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER products_keep_id BEFORE UPDATE OF id ON products
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER orders_stay BEFORE DELETE OR TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER orders_keep_id BEFORE UPDATE OF id ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER order_lines_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON order_lines
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();

-- The database as an order queue with leases: one entry per topic and order.
CREATE TABLE queue_entries (
    topic      text        NOT NULL CONSTRAINT queue_entries_topic_known CHECK (topic IN ('validate', 'process')),
    order_id   uuid        NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0 CONSTRAINT queue_entries_attempts_range CHECK (attempts >= 0),
    -- Waiting or delayed: when it may be claimed. Claimed: when its lease ends.
    visible_at timestamptz NOT NULL,
    -- Names the claim that holds the lease; a claim that was taken over no longer matches.
    claim_id   uuid,
    dead_at    timestamptz,
    reason     text,
    PRIMARY KEY (topic, order_id),
    CONSTRAINT queue_entries_dead_is_unclaimed CHECK (dead_at IS NULL OR claim_id IS NULL)
);

-- Topics that give out nothing for now.
CREATE TABLE queue_pauses (
    topic text PRIMARY KEY CONSTRAINT queue_pauses_topic_known CHECK (topic IN ('validate', 'process'))
);

CREATE INDEX queue_entries_claimable ON queue_entries (topic, visible_at, order_id) WHERE dead_at IS NULL;

-- Keys of the API. They are revoked and never deleted: a database that ever had one is closed.
CREATE TABLE api_keys (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 255),
    -- SHA-256 of the key, which is kept nowhere.
    hash       bytea       NOT NULL CONSTRAINT api_keys_hash_unique UNIQUE
                           CONSTRAINT api_keys_hash_length CHECK (octet_length(hash) = 32),
    scopes     text        NOT NULL CONSTRAINT api_keys_scopes_known
                           CHECK (scopes ~ '^(read|orders|products|admin)( (read|orders|products|admin))*$'),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- What every server reads every few seconds.
CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;
