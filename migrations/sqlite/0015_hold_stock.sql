-- Orders that keep their stock for a while before they are confirmed, sale windows, and limits per
-- customer.

-- A CHECK is part of the text of its table. Every row passed a narrower check, so that the text is
-- all there is to change (https://www.sqlite.org/lang_altertable.html#otheralter).
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(replace(replace(sql,
    '(''pending'', ''success'', ''failed'', ''cancelled'', ''completed'')',
    '(''pending'', ''held'', ''success'', ''failed'', ''expired'', ''cancelled'', ''completed'')'),
    '(''insufficient_stock'', ''product_unavailable'')',
    '(''insufficient_stock'', ''product_unavailable'', ''not_on_sale'', ''customer_limit'')'),
    'failure_available < failure_requested)',
    '(failure_available < failure_requested OR failure_code IN (''not_on_sale'', ''customer_limit'')))')
WHERE type = 'table' AND name = 'orders';
PRAGMA writable_schema = RESET;

ALTER TABLE orders ADD COLUMN customer TEXT
    CONSTRAINT orders_customer_length CHECK (length(customer) BETWEEN 1 AND 64);
-- What was asked for.
ALTER TABLE orders ADD COLUMN hold_seconds INTEGER
    CONSTRAINT orders_hold_seconds_range CHECK (hold_seconds BETWEEN 1 AND 86400);
ALTER TABLE orders ADD COLUMN held_at INTEGER;
ALTER TABLE orders ADD COLUMN held_until INTEGER;
-- What a failure says besides, as JSON.
ALTER TABLE orders ADD COLUMN failure_detail TEXT CONSTRAINT orders_failure_detail_matches CHECK (
    (failure_detail IS NOT NULL) = coalesce(failure_code IN ('not_on_sale', 'customer_limit'), 0));
ALTER TABLE orders ADD COLUMN confirmed_at INTEGER
    CONSTRAINT orders_hold_matches_status CHECK (
        CASE WHEN status IN ('pending', 'failed') THEN held_at IS NULL AND confirmed_at IS NULL
             WHEN status IN ('success', 'completed') THEN (held_at IS NULL) = (confirmed_at IS NULL)
             WHEN status = 'cancelled' THEN held_at IS NOT NULL OR confirmed_at IS NULL
             ELSE held_at IS NOT NULL AND confirmed_at IS NULL
        END
        AND (held_at IS NULL) = (held_until IS NULL)
        AND (held_at IS NULL OR hold_seconds IS NOT NULL));

-- Those that were held and not sold, for lists by status.
CREATE INDEX orders_held ON orders (id)
    WHERE held_at IS NOT NULL AND confirmed_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX orders_customer ON orders (customer, id) WHERE customer IS NOT NULL;

-- The open holds, one row for each order and product: found by their product and the time at which
-- they lapse. A hold that ends, in whatever way, leaves.
CREATE TABLE holds (
    order_id   BLOB    NOT NULL REFERENCES orders (id),
    product_id BLOB    NOT NULL REFERENCES products (id),
    held_until INTEGER NOT NULL,
    PRIMARY KEY (order_id, product_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_product ON holds (product_id, held_until);
CREATE INDEX holds_until ON holds (held_until, order_id);

-- No hold of the product lapses before it; null when it has none. It may be earlier than the first
-- of them: whoever looks for lapsed holds then sets it anew.
ALTER TABLE products ADD COLUMN lapses_at INTEGER;
ALTER TABLE products ADD COLUMN limit_per_customer INTEGER
    CONSTRAINT products_limit_per_customer_range CHECK (limit_per_customer BETWEEN 1 AND 1000000);
ALTER TABLE products ADD COLUMN on_sale_from INTEGER;
ALTER TABLE products ADD COLUMN on_sale_until INTEGER
    CONSTRAINT products_window_begins_before_it_ends CHECK (on_sale_from < on_sale_until);

ALTER TABLE order_counters ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE order_counters ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE order_counters ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE order_counters ADD COLUMN released INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER orders_count_inserted;
DROP TRIGGER orders_count_decided;
DROP TRIGGER orders_count_cancelled;

-- Sold is who was decided, did not fail and is not held; or was confirmed.
CREATE TRIGGER orders_count_inserted AFTER INSERT ON orders BEGIN
    INSERT INTO order_counters (at, accepted, sold, failed, completed, cancelled, returned, held)
    VALUES (unixepoch(), 1,
            NEW.decided_at IS NOT NULL AND NEW.failure_code IS NULL AND NEW.held_at IS NULL,
            NEW.failure_code IS NOT NULL, NEW.completed_at IS NOT NULL, NEW.cancelled_at IS NOT NULL,
            NEW.cancelled_at IS NOT NULL AND NEW.decided_at IS NOT NULL, NEW.held_at IS NOT NULL)
    ON CONFLICT (at) DO UPDATE
    SET accepted = accepted + 1, sold = sold + excluded.sold, failed = failed + excluded.failed,
        completed = completed + excluded.completed, cancelled = cancelled + excluded.cancelled,
        returned = returned + excluded.returned, held = held + excluded.held;
END;

CREATE TRIGGER orders_count_decided AFTER UPDATE OF decided_at ON orders
WHEN NEW.decided_at IS NOT NULL AND OLD.decided_at IS NULL BEGIN
    INSERT INTO order_counters (at, sold, failed, held, max_wait_us, waited, waited_us)
    VALUES (unixepoch(), NEW.failure_code IS NULL AND NEW.held_at IS NULL,
            NEW.failure_code IS NOT NULL, NEW.held_at IS NOT NULL,
            max(NEW.decided_at - NEW.created_at, 0), NEW.decided_at > NEW.created_at,
            max(NEW.decided_at - NEW.created_at, 0))
    ON CONFLICT (at) DO UPDATE
    SET sold = sold + excluded.sold, failed = failed + excluded.failed, held = held + excluded.held,
        max_wait_us = max(max_wait_us, excluded.max_wait_us), waited = waited + excluded.waited,
        waited_us = waited_us + excluded.waited_us;
END;

CREATE TRIGGER orders_count_confirmed AFTER UPDATE OF confirmed_at ON orders
WHEN NEW.confirmed_at IS NOT NULL AND OLD.confirmed_at IS NULL BEGIN
    INSERT INTO order_counters (at, sold, confirmed) VALUES (unixepoch(), 1, 1)
    ON CONFLICT (at) DO UPDATE SET sold = sold + 1, confirmed = confirmed + 1;
END;

CREATE TRIGGER orders_count_expired AFTER UPDATE OF status ON orders
WHEN NEW.status = 'expired' AND OLD.status <> 'expired' BEGIN
    INSERT INTO order_counters (at, expired) VALUES (unixepoch(), 1)
    ON CONFLICT (at) DO UPDATE SET expired = expired + 1;
END;

CREATE TRIGGER orders_count_cancelled AFTER UPDATE OF cancelled_at ON orders
WHEN NEW.cancelled_at IS NOT NULL AND OLD.cancelled_at IS NULL BEGIN
    INSERT INTO order_counters (at, cancelled, returned, released)
    VALUES (unixepoch(), 1,
            NEW.decided_at IS NOT NULL AND (NEW.held_at IS NULL OR NEW.confirmed_at IS NOT NULL),
            NEW.held_at IS NOT NULL AND NEW.confirmed_at IS NULL)
    ON CONFLICT (at) DO UPDATE
    SET cancelled = cancelled + 1, returned = returned + excluded.returned,
        released = released + excluded.released;
END;
