-- What several processes compare goes by the clock of the database: theirs may differ.

-- When tasks that nobody claimed yet came, and so are due. `sold_at` is the time that the seller
-- says, by which the tasks of an order are found.
ALTER TABLE task_batches ADD COLUMN due_at timestamptz;
UPDATE task_batches SET due_at = least(sold_at, clock_timestamp());
ALTER TABLE task_batches
    ALTER COLUMN due_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN due_at SET NOT NULL;
CREATE INDEX task_batches_due ON task_batches (due_at);

-- When an order came: by that, and not by `created_at`, which the server says that accepted it,
-- is told how long it has been pending. Null in orders that were there before this column.
ALTER TABLE orders ADD COLUMN stored_at timestamptz;
ALTER TABLE orders ALTER COLUMN stored_at SET DEFAULT clock_timestamp();
