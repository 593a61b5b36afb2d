-- The audit log: who changed what, when, and how it was before and after. An entry is written in
-- the transaction of its change.
CREATE TABLE audit_log (
    id      uuid        PRIMARY KEY,
    at      timestamptz NOT NULL,
    -- Who it was, as far as it is known: a name, and the API key that was shown.
    client  text        CONSTRAINT audit_log_client_length CHECK (char_length(client) <= 255),
    key_id  uuid,
    action  text        NOT NULL CONSTRAINT audit_log_action_length CHECK (char_length(action) BETWEEN 1 AND 64),
    -- The id of a product, order or key, or the name of a topic or a list.
    subject text        NOT NULL CONSTRAINT audit_log_subject_length CHECK (char_length(subject) BETWEEN 1 AND 255),
    before  jsonb,
    after   jsonb
);

CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_action ON audit_log (action, id);

CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();

-- The ledger of stock is history as well.
CREATE TRIGGER stock_adjustments_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_adjustments
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
