
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE TYPE public.order_status AS ENUM (
    'pending',
    'success',
    'failed',
    'cancelled',
    'completed'
);

CREATE FUNCTION public.history_stays() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE restrict_violation USING
        MESSAGE = format('%s of %I: history stays', lower(TG_OP), TG_TABLE_NAME);
END $$;

CREATE FUNCTION public.name_threes(name text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT array_to_tsvector(array_agg(substr(low.low, at.at, 3))) AS array_to_tsvector FROM lower(name_threes.name) low(low), LATERAL generate_series(1, length(low.low)) at(at));

CREATE FUNCTION public.name_trigrams(folded text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT array_to_tsvector(array_agg(substr(name_trigrams.folded, at.at, 3))) AS array_to_tsvector FROM generate_series(1, length(name_trigrams.folded)) at(at));

CREATE FUNCTION public.order_lines_refer() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT product_id FROM new_lines) line
               WHERE NOT EXISTS (SELECT FROM products WHERE id = line.product_id)) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a line refers to no product', CONSTRAINT = 'order_lines_product_exists';
    END IF;
    IF EXISTS (SELECT FROM new_lines line
               WHERE NOT EXISTS (SELECT FROM orders WHERE id = line.order_id)) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'a line refers to no order', CONSTRAINT = 'order_lines_order_exists';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.threes_of_part(part text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT (string_agg((((''''::text || replace(replace(substr(low.low, at.at, 3), '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text) || CASE WHEN (length(low.low) < 3) THEN ':*'::text ELSE ''::text END), ' & '::text))::tsquery AS string_agg FROM lower(threes_of_part.part) low(low), LATERAL generate_series(1, GREATEST((length(low.low) - 2), 1)) at(at));

CREATE FUNCTION public.trigrams_of_part(folded text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT (string_agg((((''''::text || replace(replace(substr(trigrams_of_part.folded, at.at, 3), '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text) || CASE WHEN (length(trigrams_of_part.folded) < 3) THEN ':*'::text ELSE ''::text END), ' & '::text))::tsquery AS string_agg FROM generate_series(1, GREATEST((length(trigrams_of_part.folded) - 2), 1)) at(at));

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_hash_length CHECK ((octet_length(hash) = 32)),
    CONSTRAINT api_keys_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT api_keys_scopes_known CHECK ((scopes ~ '^(read|orders|products|admin)( (read|orders|products|admin))*$'::text))
);

CREATE TABLE public.idempotency_keys (
    scope uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    target_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_fingerprint_length CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT idempotency_keys_key_length CHECK (((char_length(key) >= 1) AND (char_length(key) <= 255)))
);

CREATE TABLE public.order_lines (
    order_id uuid NOT NULL,
    line_no smallint NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    unit_price bigint NOT NULL,
    CONSTRAINT order_lines_line_no_range CHECK (((line_no >= 1) AND (line_no <= 100))),
    CONSTRAINT order_lines_quantity_range CHECK (((quantity >= 1) AND (quantity <= 1000000))),
    CONSTRAINT order_lines_unit_price_range CHECK (((unit_price >= 0) AND (unit_price <= '9999999999'::bigint)))
);

CREATE TABLE public.order_tallies (
    at bigint DEFAULT floor(date_part('epoch'::text, clock_timestamp())) NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    sold bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    completed bigint DEFAULT 0 NOT NULL,
    cancelled bigint DEFAULT 0 NOT NULL,
    returned bigint DEFAULT 0 NOT NULL,
    max_wait_us bigint DEFAULT 0 NOT NULL,
    waited bigint DEFAULT 0 NOT NULL,
    waited_us bigint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000');

CREATE TABLE public.orders (
    id uuid NOT NULL,
    status public.order_status NOT NULL,
    total_price bigint NOT NULL,
    reference text,
    failure_code text,
    failure_product_id uuid,
    failure_requested bigint,
    failure_available bigint,
    created_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone,
    completed_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    trace_parent text,
    stored_at timestamp with time zone DEFAULT clock_timestamp(),
    CONSTRAINT orders_failure_available_range CHECK (((failure_available >= 0) AND (failure_available < failure_requested))),
    CONSTRAINT orders_failure_code_known CHECK ((failure_code = ANY (ARRAY['insufficient_stock'::text, 'product_unavailable'::text]))),
    CONSTRAINT orders_failure_matches_status CHECK ((num_nonnulls(failure_code, failure_product_id, failure_requested, failure_available) =
CASE
    WHEN (status = 'failed'::public.order_status) THEN 4
    ELSE 0
END)),
    CONSTRAINT orders_failure_requested_range CHECK ((failure_requested >= 1)),
    CONSTRAINT orders_reference_length CHECK ((char_length(reference) <= 255)),
    CONSTRAINT orders_times_match_status CHECK (
CASE status
    WHEN 'pending'::public.order_status THEN ((decided_at IS NULL) AND (completed_at IS NULL) AND (cancelled_at IS NULL))
    WHEN 'completed'::public.order_status THEN ((decided_at IS NOT NULL) AND (completed_at IS NOT NULL) AND (cancelled_at IS NULL))
    WHEN 'cancelled'::public.order_status THEN ((completed_at IS NULL) AND (cancelled_at IS NOT NULL))
    ELSE ((decided_at IS NOT NULL) AND (completed_at IS NULL) AND (cancelled_at IS NULL))
END),
    CONSTRAINT orders_total_price_range CHECK ((total_price >= 0)),
    CONSTRAINT orders_trace_parent_length CHECK ((char_length(trace_parent) = 55))
);

CREATE TABLE public.process_attempts (
    order_id uuid NOT NULL,
    attempt integer NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    error text NOT NULL,
    CONSTRAINT process_attempts_attempt_positive CHECK ((attempt >= 1)),
    CONSTRAINT process_attempts_error_length CHECK (((char_length(error) >= 1) AND (char_length(error) <= 2000)))
);

CREATE TABLE public.products (
    id uuid NOT NULL,
    sku text,
    name text NOT NULL,
    price bigint NOT NULL,
    stock bigint NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    archived_at timestamp with time zone,
    name_folded text,
    name_folded_of text,
    CONSTRAINT products_fold_is_whole CHECK (((name_folded IS NULL) = (name_folded_of IS NULL))),
    CONSTRAINT products_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT products_price_range CHECK (((price >= 0) AND (price <= '9999999999'::bigint))),
    CONSTRAINT products_sku_length CHECK (((char_length(sku) >= 1) AND (char_length(sku) <= 64))),
    CONSTRAINT products_stock_range CHECK (((stock >= 0) AND (stock <= '1000000000000'::bigint))),
    CONSTRAINT products_version_positive CHECK ((version >= 1))
)
WITH (fillfactor='50');

CREATE TABLE public.queue_entries (
    topic text NOT NULL,
    order_id uuid NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    visible_at timestamp with time zone NOT NULL,
    claim_id uuid,
    dead_at timestamp with time zone,
    reason text,
    runs integer DEFAULT 0 NOT NULL,
    compensates boolean DEFAULT false NOT NULL,
    worker_id uuid,
    claimed_at timestamp with time zone,
    CONSTRAINT queue_entries_attempts_range CHECK ((attempts >= 0)),
    CONSTRAINT queue_entries_dead_is_unclaimed CHECK (((dead_at IS NULL) OR (claim_id IS NULL))),
    CONSTRAINT queue_entries_runs_range CHECK ((runs >= 0)),
    CONSTRAINT queue_entries_topic_known CHECK ((topic = ANY (ARRAY['validate'::text, 'process'::text])))
);

CREATE TABLE public.queue_pauses (
    topic text NOT NULL,
    CONSTRAINT queue_pauses_topic_known CHECK ((topic = ANY (ARRAY['validate'::text, 'process'::text])))
);

CREATE TABLE public.stock_adjustments (
    id uuid NOT NULL,
    product_id uuid NOT NULL,
    delta bigint NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_adjustments_delta_range CHECK (((delta >= '-1000000000000'::bigint) AND (delta <= '1000000000000'::bigint))),
    CONSTRAINT stock_adjustments_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 255)))
);

CREATE TABLE public.task_batches (
    id bigint NOT NULL,
    sold_at timestamp with time zone NOT NULL,
    order_ids uuid[] NOT NULL,
    tasks integer GENERATED ALWAYS AS (cardinality(order_ids)) STORED NOT NULL,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000');
ALTER TABLE ONLY public.task_batches ALTER COLUMN order_ids SET STORAGE EXTERNAL;

ALTER TABLE public.task_batches ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.task_batches_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.workers (
    id uuid NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    topics text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    stopped_at timestamp with time zone,
    sold bigint NOT NULL,
    failed bigint NOT NULL,
    processed bigint NOT NULL,
    in_flight bigint NOT NULL,
    CONSTRAINT workers_host_length CHECK ((char_length(host) <= 255))
)
WITH (fillfactor='50');

INSERT INTO public._sqlx_migrations VALUES (1, 'sell stock', '2026-11-26 19:10:01.888437+00', true, '\x442f9ee8f8c967f06c7607e14f2378542a6f5d2327cc610b7b440e72abe9209dd75ca8809fa89f5b0063501b2cebf6c5', 107051537);
INSERT INTO public._sqlx_migrations VALUES (2, 'idempotency keys', '2026-11-26 19:10:02.003405+00', true, '\x8dfd0e055331f0243f489bc2fbda250929563603ca288680464883e0ebf6c88f449017ab1724316f34fba64d27e0dd54', 12011927);
INSERT INTO public._sqlx_migrations VALUES (3, 'what follows a sale', '2026-11-26 19:10:02.019382+00', true, '\xd8b426ce399c794ce347d9f5b2e8fa677aada0a4b0c96ec5dce40c52422e3ff74888ae6290cf23f20979db26a479b0c2', 48178242);
INSERT INTO public._sqlx_migrations VALUES (4, 'tally orders', '2026-11-26 19:10:02.071421+00', true, '\xad2a2e81bf3df2b216146ee1b700d650a5e19353e342c7b05dd9ec6f5787fe889db009e9a68b2e9ef506621088003685', 3987378);
INSERT INTO public._sqlx_migrations VALUES (5, 'search names', '2026-11-26 19:10:02.079422+00', true, '\xed2fd8647a4e63fe0f2f1232be13da35bf503d88ad67b7ffa5cd24940f3c7a0bb34c41ee0c672625ab78a466ea351cd2', 4019352);
INSERT INTO public._sqlx_migrations VALUES (7, 'go by the clock of the database', '2026-11-26 19:10:02.087402+00', true, '\x1b1a4bd37e86febb1d383cd97d352aa424177da9f8a069311994d95db3ebbf32c8575b3f965906292413e0d8283b0d96', 8025184);
INSERT INTO public._sqlx_migrations VALUES (8, 'fold names', '2026-11-26 19:10:02.099409+00', true, '\xbab53151523850a7fdca8ad602dc6b9d92b2b552533a158600963b896c7c9267022d0bc78d327133b0a9f4a9f035d0e6', 8240577);

INSERT INTO public.api_keys VALUES ('01a21943-dec8-766f-8cf8-b235d46efaea', 'kept', '\xd7b9fcf19dfba92b6a0d5728df84944d7d4ed8921b77ffb64b9e88bc38dda1a9', 'admin', '2026-11-26 19:10:08.072926+00', NULL);

INSERT INTO public.idempotency_keys VALUES ('00000000-0000-0000-0000-000000000000', 'kept-1', '\x19f807c5c31571d61898ce2f59263a8558ae651b6751b9fdd0e2915823c1802d', '01a21943-cace-71f8-bb42-123883be17ac', '2026-11-26 19:10:02.958777+00');
INSERT INTO public.idempotency_keys VALUES ('00000000-0000-0000-0000-000000000000', 'kept-2', '\xc67220bf93a1bc6f3f051250690b61447a0cd2bbbd8c3e6c05bd61b8ae51aa44', '01a21943-caeb-735c-81cf-31e444bdffef', '2026-11-26 19:10:02.98715+00');
INSERT INTO public.idempotency_keys VALUES ('00000000-0000-0000-0000-000000000000', 'kept-3', '\x603cb8b90dfefdc44efc4dfa25cbf93f1e0dd89557458f1632353aa5f755f254', '01a21943-caff-7089-841d-9882ecf76300', '2026-11-26 19:10:03.007076+00');
INSERT INTO public.idempotency_keys VALUES ('00000000-0000-0000-0000-000000000000', 'kept-pending', '\xbc3ade56c33797ce15a72c305c530029ac7cc2c5dfca381105d324236e48a27c', '01a21943-de38-7040-b34a-8088fd808d2a', '2026-11-26 19:10:07.928253+00');
INSERT INTO public.idempotency_keys VALUES ('00000000-0000-0000-0000-000000000000', 'kept-delivery', '\x351950d3a5f58c471ce61058ee48dcb7c6655471b946bb8187c006e5cf72ebb7', '01a21943-de4c-7109-91a4-96fedf695646', '2026-11-26 19:10:07.948386+00');

INSERT INTO public.order_lines VALUES ('01a21943-cace-71f8-bb42-123883be17ac', 1, '01a21943-c822-73d5-879b-322a729af38e', 1, 1999);
INSERT INTO public.order_lines VALUES ('01a21943-caeb-735c-81cf-31e444bdffef', 1, '01a21943-c822-73d5-879b-322a729af38e', 2, 1999);
INSERT INTO public.order_lines VALUES ('01a21943-caff-7089-841d-9882ecf76300', 1, '01a21943-c822-73d5-879b-322a729af38e', 3, 1999);
INSERT INTO public.order_lines VALUES ('01a21943-cb0f-73c3-8ded-96c5f742a459', 1, '01a21943-c905-7573-8e4e-efa2be54053b', 4, 4950);
INSERT INTO public.order_lines VALUES ('01a21943-dbfd-70f9-b10d-4bf31d1e5074', 1, '01a21943-c822-73d5-879b-322a729af38e', 1, 1999);
INSERT INTO public.order_lines VALUES ('01a21943-dbfd-70f9-b10d-4bf31d1e5074', 2, '01a21943-c905-7573-8e4e-efa2be54053b', 1, 4950);
INSERT INTO public.order_lines VALUES ('01a21943-dd08-7050-b8e0-6e036c38d30c', 1, '01a21943-c822-73d5-879b-322a729af38e', 5, 1999);
INSERT INTO public.order_lines VALUES ('01a21943-de38-7040-b34a-8088fd808d2a', 1, '01a21943-c822-73d5-879b-322a729af38e', 2, 1999);

INSERT INTO public.order_tallies VALUES (1795720203, 2, 1, 1, 0, 0, 0, 8473, 1, 8473);
INSERT INTO public.order_tallies VALUES (1795720205, 0, 0, 0, 3, 0, 0, 0, 0, 0);
INSERT INTO public.order_tallies VALUES (1795720202, 2, 2, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO public.order_tallies VALUES (1795720207, 1, 1, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO public.order_tallies VALUES (1795720207, 1, 1, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO public.order_tallies VALUES (1795720207, 0, 0, 0, 0, 1, 1, 0, 0, 0);
INSERT INTO public.order_tallies VALUES (1795720207, 1, 0, 0, 0, 0, 0, 0, 0, 0);

INSERT INTO public.orders VALUES ('01a21943-cb0f-73c3-8ded-96c5f742a459', 'failed', 19800, NULL, 'insufficient_stock', '01a21943-c905-7573-8e4e-efa2be54053b', 4, 3, '2026-11-26 19:10:03.023255+00', '2026-11-26 19:10:03.031728+00', NULL, NULL, NULL, '2026-11-26 19:10:03.025487+00');
INSERT INTO public.orders VALUES ('01a21943-cace-71f8-bb42-123883be17ac', 'completed', 1999, 'done-1', NULL, NULL, NULL, NULL, '2026-11-26 19:10:02.958777+00', '2026-11-26 19:10:02.958777+00', '2026-11-26 19:10:05.040164+00', NULL, NULL, '2026-11-26 19:10:02.968548+00');
INSERT INTO public.orders VALUES ('01a21943-caeb-735c-81cf-31e444bdffef', 'completed', 3998, 'done-2', NULL, NULL, NULL, NULL, '2026-11-26 19:10:02.98715+00', '2026-11-26 19:10:02.98715+00', '2026-11-26 19:10:05.040164+00', NULL, NULL, '2026-11-26 19:10:02.991107+00');
INSERT INTO public.orders VALUES ('01a21943-caff-7089-841d-9882ecf76300', 'completed', 5997, 'done-3', NULL, NULL, NULL, NULL, '2026-11-26 19:10:03.007076+00', '2026-11-26 19:10:03.007076+00', '2026-11-26 19:10:05.042841+00', NULL, NULL, '2026-11-26 19:10:03.008172+00');
INSERT INTO public.orders VALUES ('01a21943-dbfd-70f9-b10d-4bf31d1e5074', 'success', 6949, 'sold', NULL, NULL, NULL, NULL, '2026-11-26 19:10:07.357322+00', '2026-11-26 19:10:07.357322+00', NULL, NULL, NULL, '2026-11-26 19:10:07.361331+00');
INSERT INTO public.orders VALUES ('01a21943-dd08-7050-b8e0-6e036c38d30c', 'cancelled', 9995, NULL, NULL, NULL, NULL, NULL, '2026-11-26 19:10:07.62478+00', '2026-11-26 19:10:07.62478+00', NULL, '2026-11-26 19:10:07.905196+00', NULL, '2026-11-26 19:10:07.62801+00');
INSERT INTO public.orders VALUES ('01a21943-de38-7040-b34a-8088fd808d2a', 'pending', 3998, 'pending', NULL, NULL, NULL, NULL, '2026-11-26 19:10:07.928253+00', NULL, NULL, NULL, NULL, '2026-11-26 19:10:07.9302+00');

INSERT INTO public.products VALUES ('01a21943-c9cc-714f-a7e3-3571374a2fce', NULL, 'Gone', 100, 7, 2, '2026-11-26 19:10:02.700719+00', '2026-11-26 19:10:02.934925+00', '2026-11-26 19:10:02.934925+00', NULL, NULL);
INSERT INTO public.products VALUES ('01a21943-c905-7573-8e4e-efa2be54053b', 'CHAIR-1', 'Chair', 4950, 2, 2, '2026-11-26 19:10:02.501125+00', '2026-11-26 19:10:07.357322+00', NULL, NULL, NULL);
INSERT INTO public.products VALUES ('01a21943-c822-73d5-879b-322a729af38e', 'LAMP-1', 'Straße lamp', 1999, 103, 8, '2026-11-26 19:10:02.274838+00', '2026-11-26 19:10:07.948386+00', NULL, 'strasse lamp', 'Straße lamp');

INSERT INTO public.queue_pauses VALUES ('process');
INSERT INTO public.queue_pauses VALUES ('validate');

INSERT INTO public.stock_adjustments VALUES ('01a21943-c822-73d5-879b-322b2dc1dcd0', '01a21943-c822-73d5-879b-322a729af38e', 100, 'initial', '2026-11-26 19:10:02.274838+00');
INSERT INTO public.stock_adjustments VALUES ('01a21943-c905-7573-8e4e-efa3e537e525', '01a21943-c905-7573-8e4e-efa2be54053b', 3, 'initial', '2026-11-26 19:10:02.501125+00');
INSERT INTO public.stock_adjustments VALUES ('01a21943-c9cc-714f-a7e3-3572d1cd11a6', '01a21943-c9cc-714f-a7e3-3571374a2fce', 7, 'initial', '2026-11-26 19:10:02.700719+00');
INSERT INTO public.stock_adjustments VALUES ('01a21943-de4c-7109-91a4-96fedf695646', '01a21943-c822-73d5-879b-322a729af38e', 10, 'delivery', '2026-11-26 19:10:07.948386+00');

INSERT INTO public.task_batches OVERRIDING SYSTEM VALUE VALUES (4, '2026-11-26 19:10:07.357322+00', '{01a21943-dbfd-70f9-b10d-4bf31d1e5074}', DEFAULT, '2026-11-26 19:10:07.361201+00');

INSERT INTO public.workers VALUES ('01a21943-c796-7084-98c4-5a26adcf352f', 'vm', 10810, '0.1.0', 'validate process', '2026-11-26 19:10:02.154977+00', '2026-11-26 19:10:08.007708+00', '2026-11-26 19:10:08.007708+00', 0, 1, 3, 0);

SELECT pg_catalog.setval('public.task_batches_id_seq', 5, true);

ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_unique UNIQUE (hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key);

ALTER TABLE ONLY public.order_lines
    ADD CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, line_no);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.process_attempts
    ADD CONSTRAINT process_attempts_pkey PRIMARY KEY (order_id, attempt);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.queue_entries
    ADD CONSTRAINT queue_entries_pkey PRIMARY KEY (topic, order_id);

ALTER TABLE ONLY public.queue_pauses
    ADD CONSTRAINT queue_pauses_pkey PRIMARY KEY (topic);

ALTER TABLE ONLY public.stock_adjustments
    ADD CONSTRAINT stock_adjustments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.task_batches
    ADD CONSTRAINT task_batches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_active ON public.api_keys USING btree (id) WHERE (revoked_at IS NULL);

CREATE INDEX order_lines_product ON public.order_lines USING btree (product_id, order_id);

CREATE INDEX orders_cancelled ON public.orders USING btree (id) WHERE (status = 'cancelled'::public.order_status);

CREATE INDEX orders_failed ON public.orders USING btree (id) WHERE (status = 'failed'::public.order_status);

CREATE INDEX orders_pending ON public.orders USING btree (status, id) WHERE (status <= 'pending'::public.order_status);

CREATE INDEX orders_reference ON public.orders USING btree (reference, id) WHERE (reference IS NOT NULL);

CREATE INDEX products_name_trigrams ON public.products USING gin (public.name_trigrams(
CASE
    WHEN (name_folded_of = name) THEN name_folded
    ELSE lower((name COLLATE "C"))
END)) WHERE (archived_at IS NULL);

CREATE UNIQUE INDEX products_sku_unique ON public.products USING btree (sku) WHERE (archived_at IS NULL);

CREATE INDEX products_unfolded ON public.products USING btree (id) WHERE ((archived_at IS NULL) AND (octet_length(name) <> char_length(name)) AND (name_folded_of IS DISTINCT FROM name));

CREATE INDEX queue_entries_claimable ON public.queue_entries USING btree (topic, visible_at) WHERE (dead_at IS NULL);

CREATE INDEX queue_entries_dead ON public.queue_entries USING btree (topic, dead_at DESC, order_id) WHERE (dead_at IS NOT NULL);

CREATE INDEX stock_adjustments_product ON public.stock_adjustments USING btree (product_id, id);

CREATE INDEX task_batches_due ON public.task_batches USING btree (due_at);

CREATE INDEX task_batches_sold ON public.task_batches USING btree (sold_at);

CREATE TRIGGER order_lines_refer AFTER INSERT ON public.order_lines REFERENCING NEW TABLE AS new_lines FOR EACH STATEMENT EXECUTE FUNCTION public.order_lines_refer();

CREATE TRIGGER order_lines_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.order_lines FOR EACH STATEMENT EXECUTE FUNCTION public.history_stays();

CREATE TRIGGER orders_keep_id BEFORE UPDATE OF id ON public.orders FOR EACH STATEMENT EXECUTE FUNCTION public.history_stays();

CREATE TRIGGER orders_stay BEFORE DELETE OR TRUNCATE ON public.orders FOR EACH STATEMENT EXECUTE FUNCTION public.history_stays();

CREATE TRIGGER products_keep_id BEFORE UPDATE OF id ON public.products FOR EACH STATEMENT EXECUTE FUNCTION public.history_stays();

CREATE TRIGGER products_stay BEFORE DELETE OR TRUNCATE ON public.products FOR EACH STATEMENT EXECUTE FUNCTION public.history_stays();

ALTER TABLE ONLY public.stock_adjustments
    ADD CONSTRAINT stock_adjustments_product_id_fkey FOREIGN KEY (product_id) REFERENCES public.products(id);

