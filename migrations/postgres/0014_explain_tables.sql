-- The database explains itself: what each table and column is, with its units, and views for reports
-- with money in units of the currency. Nothing of it is used by the programs.

-- Decimals of the currency that amounts are minor units of (ISO 4217): 2 unless the table `currency`
-- says otherwise, which not every version of the schema has.
CREATE FUNCTION currency_decimals() RETURNS integer
    LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE code text;
BEGIN
    IF to_regclass('currency') IS NOT NULL THEN
        EXECUTE 'SELECT code FROM currency' INTO code;
    END IF;
    RETURN CASE
        WHEN code IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX',
                      'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
        WHEN code IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN code IN ('CLF', 'UYW') THEN 4
        ELSE 2
    END;
END $$;

CREATE VIEW sales AS
WITH currency AS MATERIALIZED (SELECT currency_decimals() AS decimals)
SELECT o.id AS order_id, l.line_no, o.status, l.product_id, p.sku, p.name AS product_name, l.quantity,
       round(l.unit_price / 10::numeric ^ decimals, decimals) AS unit_price,
       round(l.quantity * l.unit_price / 10::numeric ^ decimals, decimals) AS line_price,
       o.reference, o.created_at, o.decided_at AS sold_at, o.completed_at
FROM orders o
JOIN order_lines l ON l.order_id = o.id
JOIN products p ON p.id = l.product_id
CROSS JOIN currency
WHERE o.status IN ('success', 'completed');

CREATE VIEW stock_ledger AS
SELECT a.product_id, p.sku, p.name AS product_name, a.created_at AS at, 'adjustment' AS kind, a.delta,
       a.reason, NULL::uuid AS order_id, NULL::numeric AS unit_price, NULL::numeric AS value
FROM stock_adjustments a JOIN products p ON p.id = a.product_id
UNION ALL
SELECT product_id, sku, product_name, sold_at, 'sale', -quantity, NULL, order_id, unit_price, line_price
FROM sales;

COMMENT ON TABLE products IS 'What is sold. Archived rows stay: orders refer to them';
COMMENT ON COLUMN products.id IS 'UUIDv7: ids sort by the time of creation';
COMMENT ON COLUMN products.sku IS 'Code of the seller, unique among products that are not archived';
COMMENT ON COLUMN products.name IS 'Name, 1 to 255 characters';
COMMENT ON COLUMN products.price IS 'Price of a piece, in minor units of the currency (cents)';
COMMENT ON COLUMN products.stock IS 'Pieces that can be sold now: the sum of adjustments less what orders hold';
COMMENT ON COLUMN products.version IS 'Grows by one with every change, a sale included';
COMMENT ON COLUMN products.created_at IS 'When it was created';
COMMENT ON COLUMN products.updated_at IS 'When it was changed last';
COMMENT ON COLUMN products.archived_at IS 'When it was taken off sale for good; null while it is on sale';
COMMENT ON COLUMN products.name_folded IS 'Case fold of name_folded_of, by which it is found; null for a name of ASCII';
COMMENT ON COLUMN products.name_folded_of IS 'The name that name_folded is the fold of';

COMMENT ON TABLE stock_adjustments IS 'Ledger of stock that did not come from orders; only added to';
COMMENT ON COLUMN stock_adjustments.id IS 'UUIDv7';
COMMENT ON COLUMN stock_adjustments.product_id IS 'The product';
COMMENT ON COLUMN stock_adjustments.delta IS 'Pieces added, or taken away when negative';
COMMENT ON COLUMN stock_adjustments.reason IS 'Why, in words';
COMMENT ON COLUMN stock_adjustments.created_at IS 'When';

COMMENT ON TABLE orders IS 'Orders, in all states; never deleted';
COMMENT ON COLUMN orders.id IS 'UUIDv7; orders are decided in the order of their ids';
COMMENT ON COLUMN orders.status IS 'pending, success (sold), failed, cancelled or completed (its task is done)';
COMMENT ON COLUMN orders.total_price IS 'Sum of quantity times unit price of all lines, in minor units of the currency (cents)';
COMMENT ON COLUMN orders.reference IS 'Free text of the client';
COMMENT ON COLUMN orders.client_id IS 'Whose key placed it; null where none was asked for, and in rows older than the column';
COMMENT ON COLUMN orders.failure_code IS 'Why it failed; null unless it did';
COMMENT ON COLUMN orders.failure_product_id IS 'The product that it failed for';
COMMENT ON COLUMN orders.failure_requested IS 'Pieces of that product that were asked for';
COMMENT ON COLUMN orders.failure_available IS 'Pieces of that product that were there';
COMMENT ON COLUMN orders.created_at IS 'When it was accepted, by the clock of the server';
COMMENT ON COLUMN orders.decided_at IS 'When it was sold or failed; null while it is pending';
COMMENT ON COLUMN orders.completed_at IS 'When its task was done';
COMMENT ON COLUMN orders.cancelled_at IS 'When it was cancelled';
COMMENT ON COLUMN orders.trace_parent IS 'W3C traceparent of the request that placed it';
COMMENT ON COLUMN orders.stored_at IS 'When it was stored, by the clock of the database; null in rows older than the column';

COMMENT ON TABLE order_lines IS 'Lines of orders; only added to';
COMMENT ON COLUMN order_lines.order_id IS 'The order';
COMMENT ON COLUMN order_lines.line_no IS 'Place in the order, from 1';
COMMENT ON COLUMN order_lines.product_id IS 'The product';
COMMENT ON COLUMN order_lines.quantity IS 'Pieces';
COMMENT ON COLUMN order_lines.unit_price IS 'Price of a piece when the order was accepted, in minor units of the currency (cents)';

COMMENT ON TABLE queue_entries IS 'Work that waits, is under a lease, or was given up; one row per topic and order';
COMMENT ON COLUMN queue_entries.topic IS 'validate (decide an order) or process (do the task of a sold one)';
COMMENT ON COLUMN queue_entries.order_id IS 'The order';
COMMENT ON COLUMN queue_entries.attempts IS 'Attempts since it came or was redriven';
COMMENT ON COLUMN queue_entries.visible_at IS 'When it may be claimed; under a lease, when that ends';
COMMENT ON COLUMN queue_entries.claim_id IS 'The claim that has the lease; null without one';
COMMENT ON COLUMN queue_entries.dead_at IS 'When it was given up; null unless it was';
COMMENT ON COLUMN queue_entries.reason IS 'Why it was given up';
COMMENT ON COLUMN queue_entries.runs IS 'Times it was ever claimed';
COMMENT ON COLUMN queue_entries.compensates IS 'True when the order was cancelled after a claim, so that its task is undone';
COMMENT ON COLUMN queue_entries.worker_id IS 'The worker that has the lease';
COMMENT ON COLUMN queue_entries.claimed_at IS 'When it was claimed';

COMMENT ON TABLE queue_pauses IS 'Topics whose work is stopped';
COMMENT ON COLUMN queue_pauses.topic IS 'validate or process';

COMMENT ON TABLE clients IS 'Who calls; orders and idempotency keys belong to them';
COMMENT ON COLUMN clients.id IS 'UUIDv7; that of its first key, if that is older than this table';
COMMENT ON COLUMN clients.name IS 'What operators call it';
COMMENT ON COLUMN clients.created_at IS 'When it was created';

COMMENT ON TABLE api_keys IS 'Keys of the API; revoked and never deleted';
COMMENT ON COLUMN api_keys.id IS 'UUIDv7';
COMMENT ON COLUMN api_keys.name IS 'Whose key it is, or what it is for';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the key, which is kept nowhere';
COMMENT ON COLUMN api_keys.scopes IS 'What it allows, with spaces between';
COMMENT ON COLUMN api_keys.created_at IS 'When it was created';
COMMENT ON COLUMN api_keys.client_id IS 'Whose key it is; null for a key that an older program made';
COMMENT ON COLUMN api_keys.expires_at IS 'When it stops being valid; null if it does not';
COMMENT ON COLUMN api_keys.last_used_at IS 'When it was last used, to the minute';
COMMENT ON COLUMN api_keys.revoked_at IS 'When it was revoked; null while it is in force';

COMMENT ON TABLE idempotency_keys IS 'Keys by which clients repeat requests safely, with what the first one made';
COMMENT ON COLUMN idempotency_keys.scope IS 'Whose key it is; all zeros where no API key is asked for';
COMMENT ON COLUMN idempotency_keys.key IS 'The key that the client chose';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of what was asked for';
COMMENT ON COLUMN idempotency_keys.target_id IS 'The order or stock adjustment that the request made or changed';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When it was used first';

COMMENT ON TABLE task_batches IS 'Tasks that were sold by one statement and that nobody claimed one by one';
COMMENT ON COLUMN task_batches.id IS 'Number of the row';
COMMENT ON COLUMN task_batches.sold_at IS 'When the orders were decided';
COMMENT ON COLUMN task_batches.order_ids IS 'The orders';
COMMENT ON COLUMN task_batches.tasks IS 'How many orders they are';
COMMENT ON COLUMN task_batches.due_at IS 'When the tasks are due; under a lease, when that ends';
COMMENT ON COLUMN task_batches.claim_id IS 'The claim that has the lease; null without one';
COMMENT ON COLUMN task_batches.worker_id IS 'The worker that has the lease';
COMMENT ON COLUMN task_batches.claimed_at IS 'When they were claimed';

COMMENT ON TABLE process_attempts IS 'Attempts at tasks that failed';
COMMENT ON COLUMN process_attempts.order_id IS 'The order';
COMMENT ON COLUMN process_attempts.attempt IS 'Number of the attempt, from 1';
COMMENT ON COLUMN process_attempts.worker_id IS 'The worker that made it';
COMMENT ON COLUMN process_attempts.started_at IS 'When it began';
COMMENT ON COLUMN process_attempts.ended_at IS 'When it failed';
COMMENT ON COLUMN process_attempts.error IS 'Its error, 1 to 2000 characters';

COMMENT ON TABLE workers IS 'Heartbeats of workers';
COMMENT ON COLUMN workers.id IS 'UUIDv7, new with each start';
COMMENT ON COLUMN workers.host IS 'Name of the machine';
COMMENT ON COLUMN workers.pid IS 'Id of the process';
COMMENT ON COLUMN workers.version IS 'Version of the program';
COMMENT ON COLUMN workers.topics IS 'Topics that it works on, with spaces between';
COMMENT ON COLUMN workers.started_at IS 'When it started';
COMMENT ON COLUMN workers.heartbeat_at IS 'When it was heard last; it writes every second';
COMMENT ON COLUMN workers.stopped_at IS 'When it stopped; null while it runs, or if it was killed';
COMMENT ON COLUMN workers.sold IS 'Orders that it sold since it started';
COMMENT ON COLUMN workers.failed IS 'Orders that it failed since it started';
COMMENT ON COLUMN workers.processed IS 'Tasks that it completed since it started';
COMMENT ON COLUMN workers.in_flight IS 'Tasks that it works on';

COMMENT ON TABLE order_counters IS 'How many orders came to each milestone, and when: sums of rows are exact at any moment';
COMMENT ON COLUMN order_counters.at IS 'Seconds since 1970: the first second of the span that the row counts (a second, a minute, an hour or a day)';
COMMENT ON COLUMN order_counters.accepted IS 'Orders accepted or bought at once';
COMMENT ON COLUMN order_counters.sold IS 'Orders sold';
COMMENT ON COLUMN order_counters.failed IS 'Orders failed';
COMMENT ON COLUMN order_counters.completed IS 'Orders completed';
COMMENT ON COLUMN order_counters.cancelled IS 'Orders cancelled';
COMMENT ON COLUMN order_counters.returned IS 'Cancelled orders that had been sold';
COMMENT ON COLUMN order_counters.max_wait_us IS 'The longest wait for a decision, in microseconds';
COMMENT ON COLUMN order_counters.waited IS 'Orders that waited for their decision';
COMMENT ON COLUMN order_counters.waited_us IS 'The time that they waited together, in microseconds';

COMMENT ON TABLE audit_log IS 'Who changed what, when, and how it was before and after; only added to';
COMMENT ON COLUMN audit_log.id IS 'UUIDv7';
COMMENT ON COLUMN audit_log.at IS 'When, by the clock of the database';
COMMENT ON COLUMN audit_log.client IS 'Name of who it was; null where nobody is known';
COMMENT ON COLUMN audit_log.key_id IS 'The API key that was shown';
COMMENT ON COLUMN audit_log.action IS 'What was done, such as product.update';
COMMENT ON COLUMN audit_log.subject IS 'The id of a product, order or key, or the name of a topic or a list';
COMMENT ON COLUMN audit_log.before IS 'How it was; money as in the API, in units of the currency';
COMMENT ON COLUMN audit_log.after IS 'How it is; money as in the API, in units of the currency';

COMMENT ON VIEW order_tallies IS 'The old name of order_counters, for programs of an older version';
COMMENT ON VIEW sales IS 'Lines of orders that are sold, for reports; money in units of the currency';
COMMENT ON COLUMN sales.order_id IS 'The order';
COMMENT ON COLUMN sales.line_no IS 'Place in the order, from 1';
COMMENT ON COLUMN sales.status IS 'success or completed';
COMMENT ON COLUMN sales.product_id IS 'The product';
COMMENT ON COLUMN sales.sku IS 'Its code now';
COMMENT ON COLUMN sales.product_name IS 'Its name now';
COMMENT ON COLUMN sales.quantity IS 'Pieces';
COMMENT ON COLUMN sales.unit_price IS 'Price of a piece when the order was accepted, in units of the currency';
COMMENT ON COLUMN sales.line_price IS 'quantity times unit_price';
COMMENT ON COLUMN sales.reference IS 'Free text of the client';
COMMENT ON COLUMN sales.created_at IS 'When the order was accepted';
COMMENT ON COLUMN sales.sold_at IS 'When it was sold';
COMMENT ON COLUMN sales.completed_at IS 'When its task was done';
COMMENT ON VIEW stock_ledger IS 'Every change of stock, by adjustments and by orders that hold stock, for reports: the deltas of a product add up to its stock; money in units of the currency';
COMMENT ON COLUMN stock_ledger.product_id IS 'The product';
COMMENT ON COLUMN stock_ledger.sku IS 'Its code now';
COMMENT ON COLUMN stock_ledger.product_name IS 'Its name now';
COMMENT ON COLUMN stock_ledger.at IS 'When';
COMMENT ON COLUMN stock_ledger.kind IS 'adjustment or sale';
COMMENT ON COLUMN stock_ledger.delta IS 'Pieces added, or taken away when negative';
COMMENT ON COLUMN stock_ledger.reason IS 'Why the stock was adjusted; null for a sale';
COMMENT ON COLUMN stock_ledger.order_id IS 'The order of a sale';
COMMENT ON COLUMN stock_ledger.unit_price IS 'Price of a piece in that order, in units of the currency';
COMMENT ON COLUMN stock_ledger.value IS 'Price of all of them';
