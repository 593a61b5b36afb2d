-- Counters: what was called a tally. Their rows stay as they are, and so do the names of columns.

ALTER TABLE order_tallies RENAME TO order_counters;

-- For processes of an older version, which count by that name until they end.
CREATE VIEW order_tallies AS SELECT * FROM order_counters;
