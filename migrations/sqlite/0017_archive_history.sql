-- Orders that are at their end leave for files, and what they amounted to stays: the books balance
-- with it.

-- One row for each file. It is made before its file is, sealed when the file is proven to be on the disk,
-- and no longer open when its orders are gone.
CREATE TABLE archive_files (
    number    INTEGER PRIMARY KEY CONSTRAINT archive_files_number_positive CHECK (number >= 1),
    -- One file at a time.
    is_open   INTEGER CONSTRAINT archive_files_one_is_open UNIQUE CHECK (is_open = 1),
    first_id  BLOB    NOT NULL CHECK (length(first_id) = 16),
    last_id   BLOB    NOT NULL CHECK (length(last_id) = 16),
    -- SHA-256 of the file.
    sha256    BLOB    CONSTRAINT archive_files_sha256_length CHECK (length(sha256) = 32),
    orders    INTEGER NOT NULL DEFAULT 0 CONSTRAINT archive_files_orders_range CHECK (orders >= 0),
    -- Those of them that changed meanwhile, and so stay.
    left_out  INTEGER NOT NULL DEFAULT 0 CONSTRAINT archive_files_left_out_range CHECK (left_out BETWEEN 0 AND orders),
    -- What is gone, counted in the transactions that deleted it.
    lines     INTEGER NOT NULL DEFAULT 0,
    accepted  INTEGER NOT NULL DEFAULT 0,
    sold      INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    returned  INTEGER NOT NULL DEFAULT 0,
    held      INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    expired   INTEGER NOT NULL DEFAULT 0,
    released  INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT archive_files_ids_grow CHECK (last_id >= first_id),
    CONSTRAINT archive_files_are_sealed_before_they_end CHECK (is_open IS NOT NULL OR sha256 IS NOT NULL)
) STRICT;

-- What archived orders took of each product and gave back.
CREATE TABLE archived_sales (
    product_id    BLOB    PRIMARY KEY CHECK (length(product_id) = 16),
    lines         INTEGER NOT NULL CONSTRAINT archived_sales_lines_positive CHECK (lines >= 1),
    kept          INTEGER NOT NULL CONSTRAINT archived_sales_kept_range CHECK (kept >= 0),
    returned      INTEGER NOT NULL CONSTRAINT archived_sales_returned_range CHECK (returned >= 0),
    last_order_id BLOB    NOT NULL,
    last_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What customers keep of products in archived orders: it goes on counting towards limits.
CREATE TABLE archived_purchases (
    customer   TEXT    NOT NULL CONSTRAINT archived_purchases_customer_length CHECK (length(customer) BETWEEN 1 AND 64),
    product_id BLOB    NOT NULL,
    pieces     INTEGER NOT NULL CONSTRAINT archived_purchases_pieces_positive CHECK (pieces >= 1),
    PRIMARY KEY (customer, product_id)
) STRICT, WITHOUT ROWID;

-- History stays, but for what lies in the file that is open and sealed.
DROP TRIGGER orders_stay;
CREATE TRIGGER orders_stay BEFORE DELETE ON orders
WHEN OLD.status IN ('pending', 'held', 'success') OR NOT EXISTS (
    SELECT 1 FROM archive_files
    WHERE is_open = 1 AND sha256 IS NOT NULL AND OLD.id BETWEEN first_id AND last_id) BEGIN
    SELECT RAISE(ABORT, 'delete of orders: history stays');
END;
DROP TRIGGER order_lines_stay;
CREATE TRIGGER order_lines_stay BEFORE DELETE ON order_lines
WHEN NOT EXISTS (
    SELECT 1 FROM archive_files
    WHERE is_open = 1 AND sha256 IS NOT NULL AND OLD.order_id BETWEEN first_id AND last_id) BEGIN
    SELECT RAISE(ABORT, 'delete of order_lines: history stays');
END;
DROP TRIGGER stock_returns_stay;
CREATE TRIGGER stock_returns_stay BEFORE DELETE ON stock_returns
WHEN NOT EXISTS (
    SELECT 1 FROM archive_files
    WHERE is_open = 1 AND sha256 IS NOT NULL AND OLD.order_id BETWEEN first_id AND last_id) BEGIN
    SELECT RAISE(ABORT, 'delete of stock_returns: history stays');
END;
