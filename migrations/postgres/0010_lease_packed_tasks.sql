-- Tasks that lie in one row are claimed together: while `claim_id` is there, `due_at` is the time
-- at which the lease ends, and each of them has been claimed once.
ALTER TABLE task_batches
    ADD COLUMN claim_id   uuid,
    ADD COLUMN worker_id  uuid,
    ADD COLUMN claimed_at timestamptz;
CREATE INDEX task_batches_claimed ON task_batches (claim_id) WHERE claim_id IS NOT NULL;
