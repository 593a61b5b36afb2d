-- Orders that keep their stock for a while before they are confirmed, sale windows, and limits per
-- customer.

-- At the end, so that pending stays the least state. A transaction that adds states cannot use them:
-- what follows says "none of the others" instead.
ALTER TYPE order_status ADD VALUE 'held';
ALTER TYPE order_status ADD VALUE 'expired';

ALTER TABLE orders
    ADD COLUMN customer     text        CONSTRAINT orders_customer_length CHECK (char_length(customer) BETWEEN 1 AND 64),
    -- What was asked for.
    ADD COLUMN hold_seconds integer     CONSTRAINT orders_hold_seconds_range CHECK (hold_seconds BETWEEN 1 AND 86400),
    ADD COLUMN held_at      timestamptz,
    ADD COLUMN held_until   timestamptz,
    ADD COLUMN confirmed_at timestamptz,
    -- What a failure says besides, as JSON.
    ADD COLUMN failure_detail text;

-- Every row that is there passes: the columns are new.
ALTER TABLE orders
    ADD CONSTRAINT orders_hold_matches_status CHECK (
        CASE WHEN status IN ('pending', 'failed') THEN held_at IS NULL AND confirmed_at IS NULL
             WHEN status IN ('success', 'completed') THEN (held_at IS NULL) = (confirmed_at IS NULL)
             WHEN status = 'cancelled' THEN held_at IS NOT NULL OR confirmed_at IS NULL
             ELSE held_at IS NOT NULL AND confirmed_at IS NULL
        END
        AND (held_at IS NULL) = (held_until IS NULL)
        AND (held_at IS NULL OR hold_seconds IS NOT NULL)) NOT VALID,
    DROP CONSTRAINT orders_failure_code_known,
    ADD CONSTRAINT orders_failure_code_known CHECK (failure_code IN (
        'insufficient_stock', 'product_unavailable', 'not_on_sale', 'customer_limit')) NOT VALID,
    -- What was there may be enough, and the window or the limit in the way.
    DROP CONSTRAINT orders_failure_available_range,
    ADD CONSTRAINT orders_failure_available_range CHECK (
        failure_available >= 0
        AND (failure_available < failure_requested
             OR failure_code IN ('not_on_sale', 'customer_limit'))) NOT VALID,
    ADD CONSTRAINT orders_failure_detail_matches CHECK (
        (failure_detail IS NOT NULL) = coalesce(failure_code IN ('not_on_sale', 'customer_limit'), false)) NOT VALID;

-- Those that were held and not sold, for lists by status.
CREATE INDEX orders_held ON orders (id)
    WHERE held_at IS NOT NULL AND confirmed_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX orders_customer ON orders (customer, id) WHERE customer IS NOT NULL;

-- The open holds, one row for each order and product: found by their product and the time at which
-- they lapse. A hold that ends, in whatever way, leaves.
CREATE TABLE holds (
    order_id   uuid        NOT NULL,
    product_id uuid        NOT NULL,
    held_until timestamptz NOT NULL,
    PRIMARY KEY (order_id, product_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX holds_product ON holds (product_id, held_until);
CREATE INDEX holds_until ON holds (held_until, order_id);

ALTER TABLE products
    -- No hold of the product lapses before it; null when it has none. It may be earlier than the first
    -- of them: whoever looks for lapsed holds then sets it anew.
    ADD COLUMN lapses_at          timestamptz,
    ADD COLUMN limit_per_customer integer     CONSTRAINT products_limit_per_customer_range CHECK (limit_per_customer BETWEEN 1 AND 1000000),
    ADD COLUMN on_sale_from       timestamptz,
    ADD COLUMN on_sale_until      timestamptz,
    ADD CONSTRAINT products_window_begins_before_it_ends CHECK (on_sale_from < on_sale_until) NOT VALID;

ALTER TABLE order_counters
    ADD COLUMN held      bigint NOT NULL DEFAULT 0,
    ADD COLUMN confirmed bigint NOT NULL DEFAULT 0,
    ADD COLUMN expired   bigint NOT NULL DEFAULT 0,
    ADD COLUMN released  bigint NOT NULL DEFAULT 0;

-- A hold takes stock as well.
CREATE OR REPLACE VIEW stock_ledger AS
SELECT a.product_id, p.sku, p.name AS product_name, a.created_at AS at, 'adjustment' AS kind, a.delta,
       a.reason, NULL::uuid AS order_id, NULL::numeric AS unit_price, NULL::numeric AS value
FROM stock_adjustments a JOIN products p ON p.id = a.product_id
UNION ALL
SELECT product_id, sku, product_name, sold_at, 'sale', -quantity, NULL, order_id, unit_price, line_price
FROM sales
UNION ALL
SELECT l.product_id, p.sku, p.name, o.held_at, 'hold', -l.quantity, NULL, l.order_id,
       round(l.unit_price / 10::numeric ^ decimals, decimals),
       round(l.quantity * l.unit_price / 10::numeric ^ decimals, decimals)
FROM orders o
JOIN order_lines l ON l.order_id = o.id
JOIN products p ON p.id = l.product_id
CROSS JOIN (SELECT currency_decimals() AS decimals) currency
WHERE o.held_at IS NOT NULL AND o.confirmed_at IS NULL AND o.cancelled_at IS NULL
  AND o.status::text = 'held';

COMMENT ON COLUMN orders.status IS 'pending, held (until it is confirmed), success (sold), failed, expired (not confirmed in time), cancelled or completed (its task is done)';
COMMENT ON COLUMN orders.customer IS 'Who buys, by the client''s own id of them';
COMMENT ON COLUMN orders.hold_seconds IS 'How long it asks to be held; null when it is sold at once';
COMMENT ON COLUMN orders.held_at IS 'When its hold began, by the clock of the database; null when it was never held';
COMMENT ON COLUMN orders.held_until IS 'When its hold ends or ended, by the clock of the database';
COMMENT ON COLUMN orders.confirmed_at IS 'When it was confirmed, and so sold, after it was held';
COMMENT ON COLUMN orders.failure_detail IS 'What else the failure says, as JSON: the sale window, or the limit per customer';
COMMENT ON TABLE holds IS 'Open holds: products of orders that are held; a row leaves when its order is confirmed, expires or is cancelled';
COMMENT ON COLUMN holds.order_id IS 'The order';
COMMENT ON COLUMN holds.product_id IS 'The product';
COMMENT ON COLUMN holds.held_until IS 'When the hold ends, as in its order';
COMMENT ON COLUMN products.lapses_at IS 'No hold of it lapses before; null when there is none. It may be earlier than the first that does';
COMMENT ON COLUMN products.limit_per_customer IS 'Pieces that one customer may have; null without a limit';
COMMENT ON COLUMN products.on_sale_from IS 'When its sale begins; null when it has begun';
COMMENT ON COLUMN products.on_sale_until IS 'When its sale ends; null when it does not';
COMMENT ON COLUMN order_counters.held IS 'Orders held';
COMMENT ON COLUMN order_counters.sold IS 'Orders sold, those that were confirmed among them';
COMMENT ON COLUMN order_counters.confirmed IS 'Orders confirmed after they were held';
COMMENT ON COLUMN order_counters.expired IS 'Held orders that were not confirmed in time';
COMMENT ON COLUMN order_counters.released IS 'Cancelled orders that were held then';
COMMENT ON COLUMN stock_ledger.kind IS 'adjustment, sale or hold';
COMMENT ON COLUMN stock_ledger.order_id IS 'The order of a sale or a hold';
