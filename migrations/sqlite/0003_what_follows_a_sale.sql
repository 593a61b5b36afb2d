-- What follows a sale: its task, who works on it, and what went wrong.

-- The entries of the topic `process` are tasks. An order that was sold before this was here
-- has none: whoever wants one for it asks for it, order by order.
-- How often an entry was ever claimed: attempts count from the start after a redrive, this does not.
ALTER TABLE queue_entries ADD COLUMN runs INTEGER NOT NULL DEFAULT 0 CONSTRAINT queue_entries_runs_range CHECK (runs >= 0);
-- The order was cancelled after a claim: what was done for it is to be undone.
ALTER TABLE queue_entries ADD COLUMN compensates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_entries ADD COLUMN worker_id BLOB;
ALTER TABLE queue_entries ADD COLUMN claimed_at INTEGER;

CREATE INDEX queue_entries_dead ON queue_entries (topic, dead_at DESC, order_id) WHERE dead_at IS NOT NULL;

-- An order that is sold gets its task in the same statement, whichever way it was sold: there
-- is no second write that could be lost.
CREATE TRIGGER orders_sold_at_once AFTER INSERT ON orders WHEN NEW.status = 'success' BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at) VALUES ('process', NEW.id, NEW.decided_at)
    ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER orders_sold AFTER UPDATE OF status ON orders WHEN NEW.status = 'success' BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at) VALUES ('process', NEW.id, NEW.decided_at)
    ON CONFLICT DO NOTHING;
END;

-- The trace of the request that placed the order: what follows is seen in it, too. Null where
-- nobody traces.
ALTER TABLE orders ADD COLUMN trace_parent TEXT
    CONSTRAINT orders_trace_parent_length CHECK (length(trace_parent) = 55);

-- The attempts that failed.
CREATE TABLE process_attempts (
    order_id   BLOB    NOT NULL,
    attempt    INTEGER NOT NULL CONSTRAINT process_attempts_attempt_positive CHECK (attempt >= 1),
    worker_id  BLOB,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    error      TEXT    NOT NULL CONSTRAINT process_attempts_error_length CHECK (length(error) BETWEEN 1 AND 2000),
    PRIMARY KEY (order_id, attempt)
) STRICT, WITHOUT ROWID;

-- Who works, or did so lately.
CREATE TABLE workers (
    id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
    host         TEXT    NOT NULL CONSTRAINT workers_host_length CHECK (length(host) <= 255),
    pid          INTEGER NOT NULL,
    version      TEXT    NOT NULL,
    topics       TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    stopped_at   INTEGER,
    sold         INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    processed    INTEGER NOT NULL,
    in_flight    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
