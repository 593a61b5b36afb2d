-- Names are searched by their case fold. The program makes it: SQLite knows the letters of ASCII.
--
-- A name of ASCII needs no column: its fold is what lower() makes of it. Of any other,
-- name_folded is the fold of name_folded_of. Whoever renames a product and does not know these
-- columns (an older version, or a person) leaves them to the name before. Then the name counts
-- as not folded yet, and is found by its letters of ASCII only, until a process folds it: each
-- does so after migrating, and every few seconds.

ALTER TABLE products ADD COLUMN name_folded TEXT;
ALTER TABLE products ADD COLUMN name_folded_of TEXT
    CONSTRAINT products_fold_is_whole CHECK ((name_folded IS NULL) = (name_folded_of IS NULL));

-- What is to be folded: nothing, nearly always.
CREATE INDEX products_unfolded ON products (id)
    WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
      AND name_folded_of IS NOT name;
