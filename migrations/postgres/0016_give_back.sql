-- Returns: part of an order comes back, and the rest stays held or sold.

ALTER TABLE orders
    -- The pieces that are cancelled of each line, in the order of the lines, as a JSON array: here, so
    -- that one row tells them together with the total of what is left. Null when nothing is, and of
    -- orders that a program of an older version cancelled, as a whole.
    ADD COLUMN cancelled_quantities jsonb,
    -- A program of an older version, which would give back all lines in full, cannot cancel an order
    -- that gave something back already.
    ADD CONSTRAINT orders_cancelled_quantities CHECK (
        cancelled_quantities IS NULL OR CASE status
            WHEN 'pending' THEN false WHEN 'failed' THEN false
            WHEN 'cancelled' THEN total_price = 0 ELSE true END) NOT VALID;

ALTER TABLE queue_entries
    -- Something came back after the task was claimed: once it is done, a compensation follows.
    ADD COLUMN returned boolean NOT NULL DEFAULT false;

-- Who adjusted stock, as far as it is known: a name, and the API key that was shown. Null in rows that
-- are older than the columns.
ALTER TABLE stock_adjustments
    ADD COLUMN client text CONSTRAINT stock_adjustments_client_length CHECK (char_length(client) <= 255),
    ADD COLUMN key_id uuid;

-- What orders gave back that had stock, product by product; only added to.
CREATE TABLE stock_returns (
    product_id uuid        NOT NULL,
    -- Of the return, which may be of several products.
    id         uuid        NOT NULL,
    order_id   uuid        NOT NULL,
    quantity   bigint      NOT NULL CONSTRAINT stock_returns_quantity_positive CHECK (quantity >= 1),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (product_id, id)
);

CREATE TRIGGER stock_returns_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_returns
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();

-- What is left of sold lines: the deltas of the ledger go on adding up to the stock.
CREATE OR REPLACE VIEW sales AS
WITH currency AS MATERIALIZED (SELECT currency_decimals() AS decimals)
SELECT o.id AS order_id, l.line_no, o.status, l.product_id, p.sku, p.name AS product_name,
       kept.quantity,
       round(l.unit_price / 10::numeric ^ decimals, decimals) AS unit_price,
       round(kept.quantity * l.unit_price / 10::numeric ^ decimals, decimals) AS line_price,
       o.reference, o.created_at, o.decided_at AS sold_at, o.completed_at
FROM orders o
JOIN order_lines l ON l.order_id = o.id
CROSS JOIN LATERAL (
    SELECT l.quantity - coalesce((o.cancelled_quantities ->> (l.line_no - 1))::integer, 0)) AS kept (quantity)
JOIN products p ON p.id = l.product_id
CROSS JOIN currency
WHERE o.status IN ('success', 'completed') AND kept.quantity > 0;

-- Likewise what is left of what is held.
CREATE OR REPLACE VIEW stock_ledger AS
SELECT a.product_id, p.sku, p.name AS product_name, a.created_at AS at, 'adjustment' AS kind, a.delta,
       a.reason, NULL::uuid AS order_id, NULL::numeric AS unit_price, NULL::numeric AS value
FROM stock_adjustments a JOIN products p ON p.id = a.product_id
UNION ALL
SELECT product_id, sku, product_name, sold_at, 'sale', -quantity, NULL, order_id, unit_price, line_price
FROM sales
UNION ALL
SELECT l.product_id, p.sku, p.name, o.held_at, 'hold', -kept.quantity, NULL, l.order_id,
       round(l.unit_price / 10::numeric ^ decimals, decimals),
       round(kept.quantity * l.unit_price / 10::numeric ^ decimals, decimals)
FROM orders o
JOIN order_lines l ON l.order_id = o.id
CROSS JOIN LATERAL (
    SELECT l.quantity - coalesce((o.cancelled_quantities ->> (l.line_no - 1))::integer, 0)) AS kept (quantity)
JOIN products p ON p.id = l.product_id
CROSS JOIN (SELECT currency_decimals() AS decimals) currency
WHERE o.held_at IS NOT NULL AND o.confirmed_at IS NULL AND o.cancelled_at IS NULL
  AND o.status::text = 'held' AND kept.quantity > 0;

COMMENT ON COLUMN orders.total_price IS 'Sum of quantity times unit price over what is not cancelled of the lines, in minor units of the currency (cents)';
COMMENT ON COLUMN orders.cancelled_quantities IS 'Pieces that are cancelled of each line, in the order of the lines; null when nothing is, or when an older version cancelled all of it';
COMMENT ON COLUMN queue_entries.compensates IS 'True when the task is undone: the order was cancelled after a claim, or gave something back';
COMMENT ON COLUMN queue_entries.returned IS 'True when something came back after the claim, so that a compensation follows';
COMMENT ON TABLE stock_returns IS 'What orders gave back that had stock: cancelled, or held and not confirmed; only added to';
COMMENT ON COLUMN stock_returns.product_id IS 'The product';
COMMENT ON COLUMN stock_returns.id IS 'UUIDv7 of the return, which may be of several products';
COMMENT ON COLUMN stock_returns.order_id IS 'The order';
COMMENT ON COLUMN stock_returns.quantity IS 'Pieces';
COMMENT ON COLUMN stock_returns.created_at IS 'When';
COMMENT ON COLUMN stock_adjustments.client IS 'Name of who it was; null where nobody is known, and in rows older than the column';
COMMENT ON COLUMN stock_adjustments.key_id IS 'The API key that was shown';
COMMENT ON COLUMN sales.quantity IS 'Pieces that did not come back';
