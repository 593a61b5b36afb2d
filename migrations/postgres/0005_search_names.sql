-- Finding products by a part of their name, among millions of them.
--
-- A name is indexed by the three characters that start at each of its characters (fewer at the
-- end): a part of a name is where all threes of the part are, and a part of one or two
-- characters is where a three begins with it. The extension pg_trgm knows threes as well, but
-- none of parts that short, and of no letters that the database's locale does not know; and
-- who migrates may not be allowed to install extensions.

CREATE FUNCTION name_threes(name text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT array_to_tsvector(array_agg(substr(low, at, 3)))
            FROM lower(name) AS low, generate_series(1, length(low)) AS at);

-- Each three in quotes, in which only quotes and backslashes mean something.
CREATE FUNCTION threes_of_part(part text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg(
                '''' || replace(replace(substr(low, at, 3), '\', '\\'), '''', '''''') || ''''
                || CASE WHEN length(low) < 3 THEN ':*' ELSE '' END, ' & ')::tsquery
            FROM lower(part) AS low, generate_series(1, greatest(length(low) - 2, 1)) AS at);

CREATE INDEX products_name_threes ON products USING gin (name_threes(name))
    WHERE archived_at IS NULL;
