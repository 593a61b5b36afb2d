-- Prices of 15 digits, and the currency that they are in.

-- A CHECK is part of the text of its table. Every row passed a narrower check, so that the text is
-- all there is to change (https://www.sqlite.org/lang_altertable.html#otheralter); to copy the
-- tables would take minutes and the room twice.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, 'BETWEEN 0 AND 9999999999)', 'BETWEEN 0 AND 999999999999999)')
WHERE type = 'table' AND name IN ('products', 'order_lines');
PRAGMA writable_schema = RESET;

-- Amounts are minor units of this currency. The first server that starts writes its own, and one
-- with another currency does not start: no amount would be what it was.
CREATE TABLE currency (
    code     TEXT    PRIMARY KEY CONSTRAINT currency_code_form CHECK (code GLOB '[A-Z][A-Z][A-Z]'),
    only_row INTEGER NOT NULL DEFAULT 1 CONSTRAINT currency_is_one UNIQUE CHECK (only_row = 1)
) STRICT, WITHOUT ROWID;
