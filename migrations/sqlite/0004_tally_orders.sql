-- Tallies: how many orders came to each milestone, and when, without counting orders.
-- One writer at a time has the file, so that a row for each second is no place to meet at.
-- Housekeeping folds rows, so that the table stays small; the sums are exact at any moment.

CREATE TABLE order_tallies (
    -- Seconds since 1970. Older rows stand for more: the first second of a minute, an hour or
    -- a day for all of it.
    at          INTEGER PRIMARY KEY,
    accepted    INTEGER NOT NULL DEFAULT 0,
    sold        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    completed   INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    -- Those of the cancelled that had been sold.
    returned    INTEGER NOT NULL DEFAULT 0,
    -- The longest that one of them had waited for its decision; 0 when nobody waited.
    max_wait_us INTEGER NOT NULL DEFAULT 0,
    -- How many had waited, and how long all of them together.
    waited      INTEGER NOT NULL DEFAULT 0,
    waited_us   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Sold is who was decided and did not fail.
CREATE TRIGGER orders_tally_inserted AFTER INSERT ON orders BEGIN
    INSERT INTO order_tallies (at, accepted, sold, failed, completed, cancelled, returned)
    VALUES (unixepoch(), 1, NEW.decided_at IS NOT NULL AND NEW.failure_code IS NULL,
            NEW.failure_code IS NOT NULL, NEW.completed_at IS NOT NULL, NEW.cancelled_at IS NOT NULL,
            NEW.cancelled_at IS NOT NULL AND NEW.decided_at IS NOT NULL)
    ON CONFLICT (at) DO UPDATE
    SET accepted = accepted + 1, sold = sold + excluded.sold, failed = failed + excluded.failed,
        completed = completed + excluded.completed, cancelled = cancelled + excluded.cancelled,
        returned = returned + excluded.returned;
END;

CREATE TRIGGER orders_tally_decided AFTER UPDATE OF decided_at ON orders
WHEN NEW.decided_at IS NOT NULL AND OLD.decided_at IS NULL BEGIN
    INSERT INTO order_tallies (at, sold, failed, max_wait_us, waited, waited_us)
    VALUES (unixepoch(), NEW.failure_code IS NULL, NEW.failure_code IS NOT NULL,
            max(NEW.decided_at - NEW.created_at, 0), NEW.decided_at > NEW.created_at,
            max(NEW.decided_at - NEW.created_at, 0))
    ON CONFLICT (at) DO UPDATE
    SET sold = sold + excluded.sold, failed = failed + excluded.failed,
        max_wait_us = max(max_wait_us, excluded.max_wait_us), waited = waited + excluded.waited,
        waited_us = waited_us + excluded.waited_us;
END;

CREATE TRIGGER orders_tally_completed AFTER UPDATE OF completed_at ON orders
WHEN NEW.completed_at IS NOT NULL AND OLD.completed_at IS NULL BEGIN
    INSERT INTO order_tallies (at, completed) VALUES (unixepoch(), 1)
    ON CONFLICT (at) DO UPDATE SET completed = completed + 1;
END;

CREATE TRIGGER orders_tally_cancelled AFTER UPDATE OF cancelled_at ON orders
WHEN NEW.cancelled_at IS NOT NULL AND OLD.cancelled_at IS NULL BEGIN
    INSERT INTO order_tallies (at, cancelled, returned)
    VALUES (unixepoch(), 1, NEW.decided_at IS NOT NULL)
    ON CONFLICT (at) DO UPDATE
    SET cancelled = cancelled + 1, returned = returned + excluded.returned;
END;

-- What is there already counts for the day on which it was accepted.
INSERT INTO order_tallies
SELECT created_at / 86400000000 * 86400, count(*), count(decided_at) - count(failure_code),
       count(failure_code), count(completed_at), count(cancelled_at),
       count(*) FILTER (WHERE cancelled_at IS NOT NULL AND decided_at IS NOT NULL), 0, 0, 0
FROM orders GROUP BY 1;
