-- Tallies: how many orders came to each milestone, and when, without counting orders.
-- Each statement that writes orders appends a row: no row that two batches could meet at.
-- Housekeeping folds rows, so that the table stays small; the sums are exact at any moment.

CREATE TABLE order_tallies (
    -- Seconds since 1970, by the clock of the database. Older rows stand for more: the first
    -- second of a minute, an hour or a day for all of it.
    at          bigint NOT NULL,
    accepted    bigint NOT NULL,
    sold        bigint NOT NULL,
    failed      bigint NOT NULL,
    completed   bigint NOT NULL,
    cancelled   bigint NOT NULL,
    -- Those of the cancelled that had been sold.
    returned    bigint NOT NULL,
    -- The longest that one of them had waited for its decision; 0 when nobody waited.
    max_wait_us bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
-- No index: the table is small, is read as a whole, and is written all the time.

-- The times of an order say which milestones it passed, its failure which decision it got:
-- checks see to it. Counting what is not null is the cheapest that can be done with a row.
CREATE FUNCTION orders_tally_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO order_tallies
    SELECT floor(date_part('epoch', clock_timestamp())), count(*),
           count(decided_at) - count(failure_code), count(failure_code), count(completed_at),
           count(cancelled_at), count(cancelled_at) FILTER (WHERE decided_at IS NOT NULL), 0
    FROM new_orders HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER orders_tally_inserted AFTER INSERT ON orders
    REFERENCING NEW TABLE AS new_orders FOR EACH STATEMENT EXECUTE FUNCTION orders_tally_inserted();

-- A milestone that is passed stays passed: what a statement added is the difference between
-- after and before, whatever else it changed. All decisions of a statement have one time.
CREATE FUNCTION orders_tally_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO order_tallies
    SELECT floor(date_part('epoch', clock_timestamp())), 0,
           after.decided - before.decided - after.failed + before.failed,
           after.failed - before.failed, after.completed - before.completed,
           after.cancelled - before.cancelled, after.returned - before.returned,
           CASE WHEN after.decided > before.decided
                THEN greatest(date_part('epoch', after.at - after.since) * 1000000, 0) ELSE 0 END
    FROM (SELECT count(decided_at) AS decided, count(failure_code) AS failed,
                 count(completed_at) AS completed, count(cancelled_at) AS cancelled,
                 count(cancelled_at) FILTER (WHERE decided_at IS NOT NULL) AS returned,
                 max(decided_at) AS at, min(created_at) AS since
          FROM new_orders) AS after,
         (SELECT count(decided_at) AS decided, count(failure_code) AS failed,
                 count(completed_at) AS completed, count(cancelled_at) AS cancelled,
                 count(cancelled_at) FILTER (WHERE decided_at IS NOT NULL) AS returned
          FROM old_orders) AS before
    WHERE (after.decided, after.failed, after.completed, after.cancelled)
        <> (before.decided, before.failed, before.completed, before.cancelled);
    RETURN NULL;
END $$;

CREATE TRIGGER orders_tally_updated AFTER UPDATE ON orders
    REFERENCING OLD TABLE AS old_orders NEW TABLE AS new_orders
    FOR EACH STATEMENT EXECUTE FUNCTION orders_tally_updated();

-- What is there already counts for the day on which it was accepted. The triggers have locked
-- the table, so that nothing comes in between.
INSERT INTO order_tallies
SELECT date_part('epoch', date_trunc('day', created_at, 'UTC')), count(*),
       count(decided_at) - count(failure_code), count(failure_code), count(completed_at),
       count(cancelled_at), count(cancelled_at) FILTER (WHERE decided_at IS NOT NULL), 0
FROM orders GROUP BY 1;
