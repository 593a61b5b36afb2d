-- Tallies: how many orders came to each milestone, and when, without counting orders.
-- Each statement that writes orders appends a row of what it did, in the same breath: no row that
-- two batches could meet at, and no trigger, which would have to look at each order again.
-- Housekeeping folds rows, so that the table stays small; the sums are exact at any moment.

CREATE TABLE order_tallies (
    -- Seconds since 1970, by the clock of the database. Older rows stand for more: the first
    -- second of a minute, an hour or a day for all of it.
    at          bigint NOT NULL DEFAULT floor(date_part('epoch', clock_timestamp())),
    accepted    bigint NOT NULL DEFAULT 0,
    sold        bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    completed   bigint NOT NULL DEFAULT 0,
    cancelled   bigint NOT NULL DEFAULT 0,
    -- Those of the cancelled that had been sold.
    returned    bigint NOT NULL DEFAULT 0,
    -- The longest that one of them had waited for its decision; 0 when nobody waited.
    max_wait_us bigint NOT NULL DEFAULT 0,
    -- How many had waited, and how long all of them together.
    waited      bigint NOT NULL DEFAULT 0,
    waited_us   bigint NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
-- No index: the table is small, is read as a whole, and is written all the time.

-- What is there already counts for the day on which it was accepted; nothing comes in between.
LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO order_tallies
SELECT date_part('epoch', date_trunc('day', created_at, 'UTC')), count(*),
       count(decided_at) - count(failure_code), count(failure_code), count(completed_at),
       count(cancelled_at), count(cancelled_at) FILTER (WHERE decided_at IS NOT NULL)
FROM orders GROUP BY 1;
