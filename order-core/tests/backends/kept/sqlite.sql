PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'sell stock','2026-11-26 19:09:54',1,X'0813aa116bd6081e8293f566baf71b4f3a808f3c9b3e5ef1651ff0a7c6bbf02703db85c86b041e26c8dafd96820644d4',1595922);
INSERT INTO _sqlx_migrations VALUES(2,'idempotency keys','2026-11-26 19:09:54',1,X'2ae5a26e0ffc71137a251b3bd1a2eb335082f53520c84ae378dce084b9d45bd671df7fa437df6ef1b27be25d7487d15a',428835);
INSERT INTO _sqlx_migrations VALUES(3,'what follows a sale','2026-11-26 19:09:54',1,X'94daea18b985440f5756b61834d52ebad5429a4261eccac6aee51c342d54243ff6149f497d3afdf145700551053243e2',2676840);
INSERT INTO _sqlx_migrations VALUES(4,'tally orders','2026-11-26 19:09:54',1,X'e7d54c0dd0bc56a18b5fa7879c53c32ad1202648d05356292644aa674d7ed0d017c73837ec79bdf75420a4d712133d11',781909);
INSERT INTO _sqlx_migrations VALUES(7,'go by the clock of the database','2026-11-26 19:09:54',1,X'cf89d7c8633b16d5ddbcbff216eb6ee43cd9a04d17ce86cf7f034c39cbe74ced9fed5e10fe3b7e1a6842f505dfe19874',1088295);
INSERT INTO _sqlx_migrations VALUES(8,'fold names','2026-11-26 19:09:54',1,X'870dde65822ff0028a974feb7d278106a12d750b02291aa42a675b1506df867f4be73e91ad9afad0bacab6b4cac8bd6a',1606071);
CREATE TABLE products (
    id          BLOB    PRIMARY KEY CHECK (length(id) = 16),
    sku         TEXT    CONSTRAINT products_sku_length CHECK (length(sku) BETWEEN 1 AND 64),
    name        TEXT    NOT NULL CONSTRAINT products_name_length CHECK (length(name) BETWEEN 1 AND 255),
    price       INTEGER NOT NULL CONSTRAINT products_price_range CHECK (price BETWEEN 0 AND 9999999999),
    stock       INTEGER NOT NULL CONSTRAINT products_stock_range CHECK (stock BETWEEN 0 AND 1000000000000),
    version     INTEGER NOT NULL DEFAULT 1 CONSTRAINT products_version_positive CHECK (version >= 1),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    archived_at INTEGER
, name_folded TEXT, name_folded_of TEXT
    CONSTRAINT products_fold_is_whole CHECK ((name_folded IS NULL) = (name_folded_of IS NULL))) STRICT, WITHOUT ROWID;
INSERT INTO products VALUES(X'01a21943aa877045960e596f41a6f283','LAMP-1','Straße lamp',1999,103,8,1795720194695170,1795720199740340,NULL,'strasse lamp','Straße lamp');
INSERT INTO products VALUES(X'01a21943ab1975d89c62da23f9463914','CHAIR-1','Chair',4950,2,2,1795720194841023,1795720199429446,NULL,NULL,NULL);
INSERT INTO products VALUES(X'01a21943ab8774b4a61a6fcaea2c0d78',NULL,'Gone',100,7,2,1795720194951993,1795720195116036,1795720195116036,NULL,NULL);
CREATE TABLE stock_adjustments (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    product_id BLOB    NOT NULL REFERENCES products (id),
    delta      INTEGER NOT NULL CONSTRAINT stock_adjustments_delta_range
                       CHECK (delta BETWEEN -1000000000000 AND 1000000000000),
    reason     TEXT    NOT NULL CONSTRAINT stock_adjustments_reason_length CHECK (length(reason) BETWEEN 1 AND 255),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO stock_adjustments VALUES(X'01a21943aa877045960e5970cd09a0d6',X'01a21943aa877045960e596f41a6f283',100,'initial',1795720194695170);
INSERT INTO stock_adjustments VALUES(X'01a21943ab1975d89c62da24e2103c3e',X'01a21943ab1975d89c62da23f9463914',3,'initial',1795720194841023);
INSERT INTO stock_adjustments VALUES(X'01a21943ab8774b4a61a6fcb56b1d093',X'01a21943ab8774b4a61a6fcaea2c0d78',7,'initial',1795720194951993);
INSERT INTO stock_adjustments VALUES(X'01a21943be3c7747a00d476d3cb9764a',X'01a21943aa877045960e596f41a6f283',10,'delivery',1795720199740340);
CREATE TABLE orders (
    id                 BLOB    PRIMARY KEY CHECK (length(id) = 16),
    status             TEXT    NOT NULL CONSTRAINT orders_status_known
                               CHECK (status IN ('pending', 'success', 'failed', 'cancelled', 'completed')),
    total_price        INTEGER NOT NULL CONSTRAINT orders_total_price_range CHECK (total_price >= 0),
    reference          TEXT    CONSTRAINT orders_reference_length CHECK (length(reference) <= 255),
    failure_code       TEXT    CONSTRAINT orders_failure_code_known CHECK (failure_code IN ('insufficient_stock', 'product_unavailable')),
    failure_product_id BLOB,
    failure_requested  INTEGER CONSTRAINT orders_failure_requested_range CHECK (failure_requested >= 1),
    failure_available  INTEGER CONSTRAINT orders_failure_available_range CHECK (failure_available >= 0 AND failure_available < failure_requested),
    created_at         INTEGER NOT NULL,
    decided_at         INTEGER,
    completed_at       INTEGER,
    cancelled_at       INTEGER, trace_parent TEXT
    CONSTRAINT orders_trace_parent_length CHECK (length(trace_parent) = 55), stored_at INTEGER,
    CONSTRAINT orders_times_match_status CHECK (
        CASE status
            WHEN 'pending'   THEN decided_at IS NULL AND completed_at IS NULL AND cancelled_at IS NULL
            WHEN 'completed' THEN decided_at IS NOT NULL AND completed_at IS NOT NULL AND cancelled_at IS NULL
            WHEN 'cancelled' THEN completed_at IS NULL AND cancelled_at IS NOT NULL
            ELSE decided_at IS NOT NULL AND completed_at IS NULL AND cancelled_at IS NULL
        END),
    CONSTRAINT orders_failure_matches_status CHECK (
        (failure_code IS NOT NULL) + (failure_product_id IS NOT NULL)
            + (failure_requested IS NOT NULL) + (failure_available IS NOT NULL)
            = CASE WHEN status = 'failed' THEN 4 ELSE 0 END)
) STRICT, WITHOUT ROWID;
INSERT INTO orders VALUES(X'01a21943ac387188bc5f3651e9a9f38e','completed',1999,'done-1',NULL,NULL,NULL,NULL,1795720195128501,1795720195128501,1795720197170057,NULL,NULL,1795720195128974);
INSERT INTO orders VALUES(X'01a21943ac45732fbf01ab64d475b9d3','completed',3998,'done-2',NULL,NULL,NULL,NULL,1795720195141322,1795720195141322,1795720197170057,NULL,NULL,1795720195141572);
INSERT INTO orders VALUES(X'01a21943ac50773f8790cc05d1bb53e2','completed',5997,'done-3',NULL,NULL,NULL,NULL,1795720195152484,1795720195152484,1795720197169171,NULL,NULL,1795720195152720);
INSERT INTO orders VALUES(X'01a21943ac5b744f97b1065e3c65da05','failed',19800,NULL,'insufficient_stock',X'01a21943ab1975d89c62da23f9463914',4,3,1795720195163368,1795720195164177,NULL,NULL,NULL,1795720195163663);
INSERT INTO orders VALUES(X'01a21943bd0574098ca94c9c40cd8f67','success',6949,'sold',NULL,NULL,NULL,NULL,1795720199429446,1795720199429446,NULL,NULL,NULL,1795720199429707);
INSERT INTO orders VALUES(X'01a21943bd9e70d1b3354d222ec428f6','cancelled',9995,NULL,NULL,NULL,NULL,NULL,1795720199582501,1795720199582501,NULL,1795720199717515,NULL,1795720199582776);
INSERT INTO orders VALUES(X'01a21943be317497b0d8d2bfc82ce554','pending',3998,'pending',NULL,NULL,NULL,NULL,1795720199729471,NULL,NULL,NULL,NULL,1795720199729710);
CREATE TABLE order_lines (
    order_id   BLOB    NOT NULL REFERENCES orders (id),
    line_no    INTEGER NOT NULL CONSTRAINT order_lines_line_no_range CHECK (line_no BETWEEN 1 AND 100),
    product_id BLOB    NOT NULL REFERENCES products (id),
    quantity   INTEGER NOT NULL CONSTRAINT order_lines_quantity_range CHECK (quantity BETWEEN 1 AND 1000000),
    unit_price INTEGER NOT NULL CONSTRAINT order_lines_unit_price_range CHECK (unit_price BETWEEN 0 AND 9999999999),
    PRIMARY KEY (order_id, line_no)
) STRICT, WITHOUT ROWID;
INSERT INTO order_lines VALUES(X'01a21943ac387188bc5f3651e9a9f38e',1,X'01a21943aa877045960e596f41a6f283',1,1999);
INSERT INTO order_lines VALUES(X'01a21943ac45732fbf01ab64d475b9d3',1,X'01a21943aa877045960e596f41a6f283',2,1999);
INSERT INTO order_lines VALUES(X'01a21943ac50773f8790cc05d1bb53e2',1,X'01a21943aa877045960e596f41a6f283',3,1999);
INSERT INTO order_lines VALUES(X'01a21943ac5b744f97b1065e3c65da05',1,X'01a21943ab1975d89c62da23f9463914',4,4950);
INSERT INTO order_lines VALUES(X'01a21943bd0574098ca94c9c40cd8f67',1,X'01a21943aa877045960e596f41a6f283',1,1999);
INSERT INTO order_lines VALUES(X'01a21943bd0574098ca94c9c40cd8f67',2,X'01a21943ab1975d89c62da23f9463914',1,4950);
INSERT INTO order_lines VALUES(X'01a21943bd9e70d1b3354d222ec428f6',1,X'01a21943aa877045960e596f41a6f283',5,1999);
INSERT INTO order_lines VALUES(X'01a21943be317497b0d8d2bfc82ce554',1,X'01a21943aa877045960e596f41a6f283',2,1999);
CREATE TABLE queue_entries (
    topic      TEXT    NOT NULL CONSTRAINT queue_entries_topic_known CHECK (topic IN ('validate', 'process')),
    order_id   BLOB    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0 CONSTRAINT queue_entries_attempts_range CHECK (attempts >= 0),
    visible_at INTEGER NOT NULL,
    claim_id   BLOB,
    dead_at    INTEGER,
    reason     TEXT, runs INTEGER NOT NULL DEFAULT 0 CONSTRAINT queue_entries_runs_range CHECK (runs >= 0), compensates INTEGER NOT NULL DEFAULT 0, worker_id BLOB, claimed_at INTEGER,
    PRIMARY KEY (topic, order_id),
    CONSTRAINT queue_entries_dead_is_unclaimed CHECK (dead_at IS NULL OR claim_id IS NULL)
) STRICT, WITHOUT ROWID;
INSERT INTO queue_entries VALUES('process',X'01a21943bd0574098ca94c9c40cd8f67',0,1795720199429000,NULL,NULL,NULL,0,0,NULL,NULL);
CREATE TABLE queue_pauses (
    topic TEXT PRIMARY KEY CONSTRAINT queue_pauses_topic_known CHECK (topic IN ('validate', 'process'))
) STRICT, WITHOUT ROWID;
INSERT INTO queue_pauses VALUES('process');
INSERT INTO queue_pauses VALUES('validate');
CREATE TABLE api_keys (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT    NOT NULL CONSTRAINT api_keys_name_length CHECK (length(name) BETWEEN 1 AND 255),
    -- SHA-256 of the key, which is kept nowhere.
    hash       BLOB    NOT NULL CONSTRAINT api_keys_hash_unique UNIQUE
                       CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32),
    scopes     TEXT    NOT NULL CONSTRAINT api_keys_scopes_given CHECK (scopes <> '')
                       CONSTRAINT api_keys_scopes_known CHECK (trim(replace(replace(replace(replace(
                           scopes, 'read', ''), 'orders', ''), 'products', ''), 'admin', '')) = ''),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO api_keys VALUES(X'01a21943be6f77ee9c4d00f51ff0e14c','kept',X'73670c3db0e869be550ee6243ad85ca798e6e7fd8806b34a15c61a7460dae30a','admin',1795720199791646,NULL);
CREATE TABLE idempotency_keys (
    -- The API key of the caller; all zeros where none is asked for.
    scope       BLOB    NOT NULL CHECK (length(scope) = 16),
    key         TEXT    NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 of what was asked for.
    fingerprint BLOB    NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    -- The order, or the stock adjustment, that the request made or changed.
    target_id   BLOB    NOT NULL CHECK (length(target_id) = 16),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys VALUES(X'00000000000000000000000000000000','kept-1',X'01ec6bfcda73f5767d700fc20e2de3143c160f9595de70e2e068c5a29c5bf942',X'01a21943ac387188bc5f3651e9a9f38e',1795720195128501);
INSERT INTO idempotency_keys VALUES(X'00000000000000000000000000000000','kept-2',X'd29ed9b79647006efa79fd0da4040d69427b2aa3e9df2b6bc16792256e0736f4',X'01a21943ac45732fbf01ab64d475b9d3',1795720195141322);
INSERT INTO idempotency_keys VALUES(X'00000000000000000000000000000000','kept-3',X'75a6f7e489657fd681f7b2dc30ce8f6e0663ca37790fe3442754b2ffd6d4dcbb',X'01a21943ac50773f8790cc05d1bb53e2',1795720195152484);
INSERT INTO idempotency_keys VALUES(X'00000000000000000000000000000000','kept-delivery',X'39dfe5a289fd27478e3ee0ba765fb27aa0473aafcfe338b29fc1f03e271db0a9',X'01a21943be3c7747a00d476d3cb9764a',1795720199740340);
INSERT INTO idempotency_keys VALUES(X'00000000000000000000000000000000','kept-pending',X'd6baba74f296a2adf7ac4f02be9121b3c3d96a53c1408317fd24a50cdad8d984',X'01a21943be317497b0d8d2bfc82ce554',1795720199729471);
CREATE TABLE process_attempts (
    order_id   BLOB    NOT NULL,
    attempt    INTEGER NOT NULL CONSTRAINT process_attempts_attempt_positive CHECK (attempt >= 1),
    worker_id  BLOB,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    error      TEXT    NOT NULL CONSTRAINT process_attempts_error_length CHECK (length(error) BETWEEN 1 AND 2000),
    PRIMARY KEY (order_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE workers (
    id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
    host         TEXT    NOT NULL CONSTRAINT workers_host_length CHECK (length(host) <= 255),
    pid          INTEGER NOT NULL,
    version      TEXT    NOT NULL,
    topics       TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    stopped_at   INTEGER,
    sold         INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    processed    INTEGER NOT NULL,
    in_flight    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO workers VALUES(X'01a21943aa1b711e842e20190433b36a','vm',10347,'0.1.0','validate process',1795720194604562,1795720199776575,1795720199776575,0,1,3,0);
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
INSERT INTO order_tallies VALUES(1795720195,4,3,1,0,0,0,809,1,809);
INSERT INTO order_tallies VALUES(1795720197,0,0,0,3,0,0,0,0,0);
INSERT INTO order_tallies VALUES(1795720199,3,2,0,0,1,1,0,0,0);
CREATE UNIQUE INDEX products_sku_unique ON products (sku) WHERE archived_at IS NULL;
CREATE INDEX stock_adjustments_product ON stock_adjustments (product_id, id);
CREATE INDEX orders_pending ON orders (id) WHERE status = 'pending';
CREATE INDEX orders_failed ON orders (id) WHERE status = 'failed';
CREATE INDEX orders_cancelled ON orders (id) WHERE status = 'cancelled';
CREATE INDEX orders_reference ON orders (reference, id) WHERE reference IS NOT NULL;
CREATE INDEX order_lines_product ON order_lines (product_id, order_id);
CREATE INDEX queue_entries_claimable ON queue_entries (topic, visible_at, order_id) WHERE dead_at IS NULL;
CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;
CREATE INDEX queue_entries_dead ON queue_entries (topic, dead_at DESC, order_id) WHERE dead_at IS NOT NULL;
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
CREATE INDEX products_unfolded ON products (id)
    WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
      AND name_folded_of IS NOT name;
COMMIT;
