-- What follows a sale: its task, who works on it, and what went wrong.

-- The entries of the topic `process` are tasks. An order that was sold before this was here
-- has none: whoever wants one for it asks for it, order by order.
ALTER TABLE queue_entries
    -- How often it was ever claimed: attempts count from the start after a redrive, this does not.
    ADD COLUMN runs        integer     NOT NULL DEFAULT 0 CONSTRAINT queue_entries_runs_range CHECK (runs >= 0),
    -- The order was cancelled after a claim: what was done for it is to be undone.
    ADD COLUMN compensates boolean     NOT NULL DEFAULT false,
    ADD COLUMN worker_id   uuid,
    ADD COLUMN claimed_at  timestamptz;

-- Tasks of one sale are due at the same time: without the order in it, they share one key.
DROP INDEX queue_entries_claimable;
CREATE INDEX queue_entries_claimable ON queue_entries (topic, visible_at) WHERE dead_at IS NULL;
CREATE INDEX queue_entries_dead ON queue_entries (topic, dead_at DESC, order_id) WHERE dead_at IS NOT NULL;

-- Tasks that nobody claimed yet, in one row as many as one statement sold: what is written while
-- a product is locked is one row for a thousand sales. Claims unpack the oldest into entries.
CREATE TABLE task_batches (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- When the orders were decided: from then on, their tasks are due.
    sold_at   timestamptz NOT NULL,
    order_ids uuid[]      NOT NULL,
    -- How many they are, without reading them.
    tasks     integer     NOT NULL GENERATED ALWAYS AS (cardinality(order_ids)) STORED
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Ids hardly compress: to try takes longer than to write them.
ALTER TABLE task_batches ALTER COLUMN order_ids SET STORAGE EXTERNAL;

CREATE INDEX task_batches_sold ON task_batches (sold_at);

-- The trace of the request that placed the order: what follows is seen in it, too. Null where
-- nobody traces.
ALTER TABLE orders ADD COLUMN trace_parent text
    CONSTRAINT orders_trace_parent_length CHECK (char_length(trace_parent) = 55);

-- The attempts that failed.
CREATE TABLE process_attempts (
    order_id   uuid        NOT NULL,
    attempt    integer     NOT NULL CONSTRAINT process_attempts_attempt_positive CHECK (attempt >= 1),
    worker_id  uuid,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    error      text        NOT NULL CONSTRAINT process_attempts_error_length CHECK (char_length(error) BETWEEN 1 AND 2000),
    PRIMARY KEY (order_id, attempt)
);

-- Who works, or did so lately.
CREATE TABLE workers (
    id           uuid        PRIMARY KEY,
    host         text        NOT NULL CONSTRAINT workers_host_length CHECK (char_length(host) <= 255),
    pid          bigint      NOT NULL,
    version      text        NOT NULL,
    topics       text        NOT NULL,
    started_at   timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    stopped_at   timestamptz,
    sold         bigint      NOT NULL,
    failed       bigint      NOT NULL,
    processed    bigint      NOT NULL,
    in_flight    bigint      NOT NULL
) WITH (fillfactor = 50); -- Each row is rewritten every second.
