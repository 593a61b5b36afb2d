-- Names are searched by their case fold. The program makes it: the database knows the letters of
-- its locale only, which in the locale C are those of ASCII.
--
-- A name of ASCII needs no column: its fold is what lower() makes of it. Of any other,
-- name_folded is the fold of name_folded_of. Whoever renames a product and does not know these
-- columns (an older version, or a person) leaves them to the name before. Then the name counts
-- as not folded yet, and is found by its letters of ASCII only, until a process folds it: each
-- does so after migrating, and every few seconds.

ALTER TABLE products
    ADD COLUMN name_folded text,
    ADD COLUMN name_folded_of text,
    ADD CONSTRAINT products_fold_is_whole CHECK ((name_folded IS NULL) = (name_folded_of IS NULL));

-- What is to be folded: nothing, nearly always.
CREATE INDEX products_unfolded ON products (id)
    WHERE archived_at IS NULL AND octet_length(name) <> char_length(name)
      AND name_folded_of IS DISTINCT FROM name;

-- A fold is indexed by the three characters that start at each of its characters (fewer at the
-- end), as names were before (0005): what differs is that nothing is put in lower case here.
CREATE FUNCTION name_trigrams(folded text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT array_to_tsvector(array_agg(substr(folded, at, 3)))
            FROM generate_series(1, length(folded)) AS at);

-- Each trigram in quotes, in which only quotes and backslashes mean something.
CREATE FUNCTION trigrams_of_part(folded text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg(
                '''' || replace(replace(substr(folded, at, 3), '\', '\\'), '''', '''''') || ''''
                || CASE WHEN length(folded) < 3 THEN ':*' ELSE '' END, ' & ')::tsquery
            FROM generate_series(1, greatest(length(folded) - 2, 1)) AS at);

CREATE INDEX products_name_trigrams ON products USING gin (name_trigrams(
        CASE WHEN name_folded_of = name THEN name_folded ELSE lower(name COLLATE "C") END))
    WHERE archived_at IS NULL;

-- Its functions stay for processes of an older version, which still ask by them meanwhile.
DROP INDEX products_name_threes;
