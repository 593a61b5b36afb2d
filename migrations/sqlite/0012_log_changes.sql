-- The audit log: who changed what, when, and how it was before and after. An entry is written in
-- the transaction of its change.
CREATE TABLE audit_log (
    id      BLOB    PRIMARY KEY CHECK (length(id) = 16),
    at      INTEGER NOT NULL,
    -- Who it was, as far as it is known: a name, and the API key that was shown.
    client  TEXT    CONSTRAINT audit_log_client_length CHECK (length(client) <= 255),
    key_id  BLOB,
    action  TEXT    NOT NULL CONSTRAINT audit_log_action_length CHECK (length(action) BETWEEN 1 AND 64),
    -- The id of a product, order or key, or the name of a topic or a list.
    subject TEXT    NOT NULL CONSTRAINT audit_log_subject_length CHECK (length(subject) BETWEEN 1 AND 255),
    before  TEXT    CONSTRAINT audit_log_before_is_json CHECK (json_valid(before)),
    after   TEXT    CONSTRAINT audit_log_after_is_json CHECK (json_valid(after))
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_action ON audit_log (action, id);

-- History stays: what is refused here is refused on Postgres, too.
CREATE TRIGGER audit_log_keeps BEFORE UPDATE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'update of audit_log: history stays');
END;
CREATE TRIGGER audit_log_stays BEFORE DELETE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'delete of audit_log: history stays');
END;
CREATE TRIGGER stock_adjustments_keep BEFORE UPDATE ON stock_adjustments BEGIN
    SELECT RAISE(ABORT, 'update of stock_adjustments: history stays');
END;
CREATE TRIGGER stock_adjustments_stay BEFORE DELETE ON stock_adjustments BEGIN
    SELECT RAISE(ABORT, 'delete of stock_adjustments: history stays');
END;
CREATE TRIGGER order_lines_keep BEFORE UPDATE ON order_lines BEGIN
    SELECT RAISE(ABORT, 'update of order_lines: history stays');
END;
CREATE TRIGGER order_lines_stay BEFORE DELETE ON order_lines BEGIN
    SELECT RAISE(ABORT, 'delete of order_lines: history stays');
END;
CREATE TRIGGER orders_keep_id BEFORE UPDATE OF id ON orders BEGIN
    SELECT RAISE(ABORT, 'update of orders: history stays');
END;
CREATE TRIGGER orders_stay BEFORE DELETE ON orders BEGIN
    SELECT RAISE(ABORT, 'delete of orders: history stays');
END;
CREATE TRIGGER products_keep_id BEFORE UPDATE OF id ON products BEGIN
    SELECT RAISE(ABORT, 'update of products: history stays');
END;
CREATE TRIGGER products_stay BEFORE DELETE ON products BEGIN
    SELECT RAISE(ABORT, 'delete of products: history stays');
END;
