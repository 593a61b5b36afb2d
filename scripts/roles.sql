-- Two roles on Postgres: orders_owner owns the tables and migrates; orders_app sells and cannot change
-- the schema, drop a trigger, or rewrite history. Run it as a superuser in the database, before the
-- first migration and after each one (it may be run any number of times), and give both a password:
--
--   psql "$SUPERUSER_URL" -f scripts/roles.sql
--   psql "$SUPERUSER_URL" -c '\password orders_owner' -c '\password orders_app'
--   DATABASE_URL=postgres://orders_owner:…@host/orders order-cli migrate
--   psql "$SUPERUSER_URL" -f scripts/roles.sql
--   NO_MIGRATE=true DATABASE_URL=postgres://orders_app:…@host/orders order-server
--
-- The tables are in the schema that a search_path of the session names first: `public`, or the
-- DATABASE_SCHEMA of the programs (PGOPTIONS='-c search_path=shop' psql …).

DO $$
DECLARE
    home text := current_schema();
    relation record;
    rights text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orders_owner') THEN
        CREATE ROLE orders_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orders_app') THEN
        CREATE ROLE orders_app LOGIN;
    END IF;
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', home);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO orders_owner', home);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO orders_app', home);

    FOR relation IN
        SELECT c.relname AS name, c.relkind AS kind FROM pg_class c
        WHERE c.relnamespace = home::regnamespace AND c.relkind IN ('r', 'p', 'v')
    LOOP
        rights := CASE
            WHEN relation.name = '_sqlx_migrations' THEN 'SELECT'
            -- For processes of an older version, which count by the old name.
            WHEN relation.name = 'order_tallies' THEN 'SELECT, INSERT'
            WHEN relation.kind = 'v' THEN 'SELECT'
            -- History: only added to.
            WHEN relation.name IN ('order_lines', 'stock_adjustments', 'stock_returns', 'audit_log')
                THEN 'SELECT, INSERT'
            -- Archiving and erasing are the owner's: history is deleted by nobody else.
            WHEN relation.name IN ('archive_files', 'archived_sales', 'archived_purchases')
                THEN 'SELECT'
            -- What ends with its work.
            WHEN relation.name IN ('holds', 'idempotency_keys', 'order_counters', 'queue_entries',
                                   'queue_pauses', 'task_batches', 'process_attempts', 'workers')
                THEN 'SELECT, INSERT, UPDATE, DELETE'
            ELSE 'SELECT, INSERT, UPDATE'
        END;
        EXECUTE format('ALTER TABLE %I.%I OWNER TO orders_owner', home, relation.name);
        EXECUTE format('REVOKE ALL ON %I.%I FROM orders_app', home, relation.name);
        EXECUTE format('GRANT %s ON %I.%I TO orders_app', rights, home, relation.name);
    END LOOP;
    FOR relation IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = home::regnamespace
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO orders_owner', relation.name);
    END LOOP;
    FOR relation IN
        SELECT t.typname AS name FROM pg_type t
        WHERE t.typnamespace = home::regnamespace AND t.typtype = 'e'
    LOOP
        EXECUTE format('ALTER TYPE %I.%I OWNER TO orders_owner', home, relation.name);
    END LOOP;
END $$;
