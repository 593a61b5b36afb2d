-- Orders that are at their end leave for files, and what they amounted to stays: the books balance
-- with it.

-- One row for each file. It is made before its file is, sealed when the file is proven to be on the disk,
-- and no longer open when its orders are gone.
CREATE TABLE archive_files (
    number    bigint  PRIMARY KEY CONSTRAINT archive_files_number_positive CHECK (number >= 1),
    -- One file at a time.
    is_open   boolean CONSTRAINT archive_files_one_is_open UNIQUE CHECK (is_open),
    first_id  uuid    NOT NULL,
    last_id   uuid    NOT NULL CONSTRAINT archive_files_ids_grow CHECK (last_id >= first_id),
    -- SHA-256 of the file.
    sha256    bytea   CONSTRAINT archive_files_sha256_length CHECK (octet_length(sha256) = 32),
    orders    bigint  NOT NULL DEFAULT 0 CONSTRAINT archive_files_orders_range CHECK (orders >= 0),
    -- Those of them that changed meanwhile, and so stay.
    left_out  bigint  NOT NULL DEFAULT 0 CONSTRAINT archive_files_left_out_range CHECK (left_out BETWEEN 0 AND orders),
    -- What is gone, counted in the transactions that deleted it.
    lines     bigint  NOT NULL DEFAULT 0,
    accepted  bigint  NOT NULL DEFAULT 0,
    sold      bigint  NOT NULL DEFAULT 0,
    failed    bigint  NOT NULL DEFAULT 0,
    completed bigint  NOT NULL DEFAULT 0,
    cancelled bigint  NOT NULL DEFAULT 0,
    returned  bigint  NOT NULL DEFAULT 0,
    held      bigint  NOT NULL DEFAULT 0,
    confirmed bigint  NOT NULL DEFAULT 0,
    expired   bigint  NOT NULL DEFAULT 0,
    released  bigint  NOT NULL DEFAULT 0,
    CONSTRAINT archive_files_are_sealed_before_they_end CHECK (is_open IS NOT NULL OR sha256 IS NOT NULL)
);

-- What archived orders took of each product and gave back.
CREATE TABLE archived_sales (
    product_id    uuid        PRIMARY KEY,
    lines         bigint      NOT NULL CONSTRAINT archived_sales_lines_positive CHECK (lines >= 1),
    kept          bigint      NOT NULL CONSTRAINT archived_sales_kept_range CHECK (kept >= 0),
    returned      bigint      NOT NULL CONSTRAINT archived_sales_returned_range CHECK (returned >= 0),
    last_order_id uuid        NOT NULL,
    last_at       timestamptz NOT NULL
);

-- What customers keep of products in archived orders: it goes on counting towards limits.
CREATE TABLE archived_purchases (
    customer   text   NOT NULL CONSTRAINT archived_purchases_customer_length CHECK (char_length(customer) BETWEEN 1 AND 64),
    product_id uuid   NOT NULL,
    pieces     bigint NOT NULL CONSTRAINT archived_purchases_pieces_positive CHECK (pieces >= 1),
    PRIMARY KEY (customer, product_id)
);

-- History stays, but for what lies in the file that is open and sealed.
CREATE FUNCTION only_archived_goes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stays boolean;
BEGIN
    IF TG_TABLE_NAME = 'orders' THEN
        SELECT EXISTS (SELECT FROM gone WHERE status IN ('pending', 'held', 'success')
                           OR NOT EXISTS (SELECT FROM archive_files
                                          WHERE is_open AND sha256 IS NOT NULL
                                            AND gone.id BETWEEN first_id AND last_id)) INTO stays;
    ELSE
        SELECT EXISTS (SELECT FROM gone
                       WHERE NOT EXISTS (SELECT FROM archive_files
                                         WHERE is_open AND sha256 IS NOT NULL
                                           AND gone.order_id BETWEEN first_id AND last_id)) INTO stays;
    END IF;
    IF stays THEN
        RAISE restrict_violation USING
            MESSAGE = format('delete of %I: history stays', TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER orders_stay ON orders;
CREATE TRIGGER orders_stay BEFORE TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER orders_go AFTER DELETE ON orders
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION only_archived_goes();
DROP TRIGGER order_lines_stay ON order_lines;
CREATE TRIGGER order_lines_stay BEFORE UPDATE OR TRUNCATE ON order_lines
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER order_lines_go AFTER DELETE ON order_lines
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION only_archived_goes();
DROP TRIGGER stock_returns_stay ON stock_returns;
CREATE TRIGGER stock_returns_stay BEFORE UPDATE OR TRUNCATE ON stock_returns
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
CREATE TRIGGER stock_returns_go AFTER DELETE ON stock_returns
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION only_archived_goes();

-- The deltas of the ledger go on adding up to the stock.
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
  AND o.status::text = 'held' AND kept.quantity > 0
UNION ALL
SELECT s.product_id, p.sku, p.name, s.last_at, 'archive', -s.kept, NULL, NULL, NULL, NULL
FROM archived_sales s JOIN products p ON p.id = s.product_id
WHERE s.kept > 0;

COMMENT ON TABLE orders IS 'Orders, in all states; only those that are at their end are deleted, once they are archived';
COMMENT ON TABLE order_lines IS 'Lines of orders; only added to, and deleted with their orders';
COMMENT ON TABLE stock_returns IS 'What orders gave back that had stock: cancelled, or held and not confirmed; only added to, and deleted with their orders';
COMMENT ON COLUMN stock_ledger.kind IS 'adjustment, sale, hold, or archive: what all archived orders keep';
COMMENT ON TABLE archive_files IS 'Files that orders were archived to, with what is deleted since it lies in them';
COMMENT ON COLUMN archive_files.number IS 'Number of the file, from 1';
COMMENT ON COLUMN archive_files.is_open IS 'True while orders of it may still be here; null once they are gone';
COMMENT ON COLUMN archive_files.first_id IS 'No order of it is before';
COMMENT ON COLUMN archive_files.last_id IS 'No order of it is after';
COMMENT ON COLUMN archive_files.sha256 IS 'SHA-256 of the file; null until it is proven to be on the disk, and nothing is deleted before';
COMMENT ON COLUMN archive_files.orders IS 'Orders in the file';
COMMENT ON COLUMN archive_files.left_out IS 'Orders in the file that changed before they were deleted, and so stayed';
COMMENT ON COLUMN archive_files.lines IS 'Lines that are deleted';
COMMENT ON COLUMN archive_files.accepted IS 'Orders that are deleted';
COMMENT ON COLUMN archive_files.sold IS 'Of those, the ones that were sold';
COMMENT ON COLUMN archive_files.failed IS 'Of those, the ones that failed';
COMMENT ON COLUMN archive_files.completed IS 'Of those, the ones that are completed';
COMMENT ON COLUMN archive_files.cancelled IS 'Of those, the ones that were cancelled';
COMMENT ON COLUMN archive_files.returned IS 'Of those, the ones that were cancelled after they were sold';
COMMENT ON COLUMN archive_files.held IS 'Of those, the ones that were held';
COMMENT ON COLUMN archive_files.confirmed IS 'Of those, the ones that were confirmed after they were held';
COMMENT ON COLUMN archive_files.expired IS 'Of those, the ones that were not confirmed in time';
COMMENT ON COLUMN archive_files.released IS 'Of those, the ones that were cancelled while they were held';
COMMENT ON TABLE archived_sales IS 'What archived orders took of each product and gave back';
COMMENT ON COLUMN archived_sales.product_id IS 'The product';
COMMENT ON COLUMN archived_sales.lines IS 'Lines of archived orders';
COMMENT ON COLUMN archived_sales.kept IS 'Pieces that archived orders took and did not give back';
COMMENT ON COLUMN archived_sales.returned IS 'Pieces that archived orders took and gave back';
COMMENT ON COLUMN archived_sales.last_order_id IS 'No order with a line of it that was archived has a greater id';
COMMENT ON COLUMN archived_sales.last_at IS 'When the latest of them was accepted';
COMMENT ON TABLE archived_purchases IS 'What customers keep of products in archived orders, which counts towards limits';
COMMENT ON COLUMN archived_purchases.customer IS 'The client''s own id of who bought';
COMMENT ON COLUMN archived_purchases.product_id IS 'The product';
COMMENT ON COLUMN archived_purchases.pieces IS 'Pieces';
