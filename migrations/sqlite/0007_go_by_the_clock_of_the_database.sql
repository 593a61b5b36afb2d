-- What several processes compare goes by one clock, that of the machine: not by the times that
-- are stored for people to read, which each service gives by a clock of its own.

DROP TRIGGER orders_sold_at_once;
DROP TRIGGER orders_sold;

-- A task is due when its order is sold. In microseconds, of which the clock of SQLite tells
-- whole milliseconds, rounded down.
CREATE TRIGGER orders_sold_at_once AFTER INSERT ON orders WHEN NEW.status = 'success' BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at)
    VALUES ('process', NEW.id, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
    ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER orders_sold AFTER UPDATE OF status ON orders WHEN NEW.status = 'success' BEGIN
    INSERT INTO queue_entries (topic, order_id, visible_at)
    VALUES ('process', NEW.id, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
    ON CONFLICT DO NOTHING;
END;

-- When an order came: by that is told how long it has been pending. Null in orders that were
-- there before this column.
ALTER TABLE orders ADD COLUMN stored_at INTEGER;
