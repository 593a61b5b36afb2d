-- Returns: part of an order comes back, and the rest stays held or sold.

-- The pieces that are cancelled of each line, in the order of the lines, as a JSON array: here, so that
-- one row tells them together with the total of what is left. Null when nothing is, and of orders that
-- a program of an older version cancelled, as a whole.
-- A program of an older version, which would give back all lines in full, cannot cancel an order that
-- gave something back already.
ALTER TABLE orders ADD COLUMN cancelled_quantities TEXT CONSTRAINT orders_cancelled_quantities CHECK (
    cancelled_quantities IS NULL OR CASE status
        WHEN 'pending' THEN 0 WHEN 'failed' THEN 0
        WHEN 'cancelled' THEN total_price = 0 ELSE 1 END);

-- Something came back after the task was claimed: once it is done, a compensation follows.
ALTER TABLE queue_entries ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;

-- Who adjusted stock, as far as it is known: a name, and the API key that was shown. Null in rows that
-- are older than the columns.
ALTER TABLE stock_adjustments ADD COLUMN client TEXT CONSTRAINT stock_adjustments_client_length CHECK (length(client) <= 255);
ALTER TABLE stock_adjustments ADD COLUMN key_id BLOB;

-- What orders gave back that had stock, product by product; only added to.
CREATE TABLE stock_returns (
    product_id BLOB    NOT NULL,
    -- Of the return, which may be of several products.
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    order_id   BLOB    NOT NULL,
    quantity   INTEGER NOT NULL CONSTRAINT stock_returns_quantity_positive CHECK (quantity >= 1),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (product_id, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER stock_returns_keep BEFORE UPDATE ON stock_returns BEGIN
    SELECT RAISE(ABORT, 'update of stock_returns: history stays');
END;
CREATE TRIGGER stock_returns_stay BEFORE DELETE ON stock_returns BEGIN
    SELECT RAISE(ABORT, 'delete of stock_returns: history stays');
END;
