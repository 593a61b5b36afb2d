-- Tasks of one sale lie in one row, and are claimed together.

CREATE TABLE task_batches (
    id         INTEGER PRIMARY KEY,
    -- When they are due; while `claim_id` is there, when the lease ends. Each has been claimed
    -- once by then.
    due_at     INTEGER NOT NULL,
    -- Ids in hexadecimal, as a JSON array.
    order_ids  TEXT    NOT NULL,
    -- How many they are, without reading them.
    tasks      INTEGER NOT NULL,
    claim_id   BLOB,
    worker_id  BLOB,
    claimed_at INTEGER
) STRICT;

CREATE INDEX task_batches_due ON task_batches (due_at, id);
CREATE INDEX task_batches_claimed ON task_batches (claim_id) WHERE claim_id IS NOT NULL;

-- The row in which the task of an order was packed, whether it still lies there or not.
ALTER TABLE orders ADD COLUMN task_batch INTEGER;

-- Processes of an older version pack nothing: what they sell has its task as an entry.
DROP TRIGGER orders_sold_at_once;
DROP TRIGGER orders_sold;
CREATE TRIGGER orders_sold_at_once AFTER INSERT ON orders
WHEN NEW.status = 'success' AND NEW.task_batch IS NULL BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at)
    VALUES ('process', NEW.id, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
    ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER orders_sold AFTER UPDATE OF status ON orders
WHEN NEW.status = 'success' AND NEW.task_batch IS NULL BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at)
    VALUES ('process', NEW.id, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
    ON CONFLICT DO NOTHING;
END;
