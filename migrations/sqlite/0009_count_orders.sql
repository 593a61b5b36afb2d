-- Counters: what was called a tally. Their rows stay as they are, and so do the names of columns.

DROP TRIGGER orders_tally_inserted;
DROP TRIGGER orders_tally_decided;
DROP TRIGGER orders_tally_completed;
DROP TRIGGER orders_tally_cancelled;

ALTER TABLE order_tallies RENAME TO order_counters;

-- For processes of an older version, which read by that name until they end.
CREATE VIEW order_tallies AS SELECT * FROM order_counters;

-- Sold is who was decided and did not fail.
CREATE TRIGGER orders_count_inserted AFTER INSERT ON orders BEGIN
    INSERT INTO order_counters (at, accepted, sold, failed, completed, cancelled, returned)
    VALUES (unixepoch(), 1, NEW.decided_at IS NOT NULL AND NEW.failure_code IS NULL,
            NEW.failure_code IS NOT NULL, NEW.completed_at IS NOT NULL, NEW.cancelled_at IS NOT NULL,
            NEW.cancelled_at IS NOT NULL AND NEW.decided_at IS NOT NULL)
    ON CONFLICT (at) DO UPDATE
    SET accepted = accepted + 1, sold = sold + excluded.sold, failed = failed + excluded.failed,
        completed = completed + excluded.completed, cancelled = cancelled + excluded.cancelled,
        returned = returned + excluded.returned;
END;

CREATE TRIGGER orders_count_decided AFTER UPDATE OF decided_at ON orders
WHEN NEW.decided_at IS NOT NULL AND OLD.decided_at IS NULL BEGIN
    INSERT INTO order_counters (at, sold, failed, max_wait_us, waited, waited_us)
    VALUES (unixepoch(), NEW.failure_code IS NULL, NEW.failure_code IS NOT NULL,
            max(NEW.decided_at - NEW.created_at, 0), NEW.decided_at > NEW.created_at,
            max(NEW.decided_at - NEW.created_at, 0))
    ON CONFLICT (at) DO UPDATE
    SET sold = sold + excluded.sold, failed = failed + excluded.failed,
        max_wait_us = max(max_wait_us, excluded.max_wait_us), waited = waited + excluded.waited,
        waited_us = waited_us + excluded.waited_us;
END;

CREATE TRIGGER orders_count_completed AFTER UPDATE OF completed_at ON orders
WHEN NEW.completed_at IS NOT NULL AND OLD.completed_at IS NULL BEGIN
    INSERT INTO order_counters (at, completed) VALUES (unixepoch(), 1)
    ON CONFLICT (at) DO UPDATE SET completed = completed + 1;
END;

CREATE TRIGGER orders_count_cancelled AFTER UPDATE OF cancelled_at ON orders
WHEN NEW.cancelled_at IS NOT NULL AND OLD.cancelled_at IS NULL BEGIN
    INSERT INTO order_counters (at, cancelled, returned)
    VALUES (unixepoch(), 1, NEW.decided_at IS NOT NULL)
    ON CONFLICT (at) DO UPDATE
    SET cancelled = cancelled + 1, returned = returned + excluded.returned;
END;
