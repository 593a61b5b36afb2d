-- Prices of 15 digits, and the currency that they are in.

-- Every row passed a narrower check, so that none is read again.
ALTER TABLE products
    DROP CONSTRAINT products_price_range,
    ADD CONSTRAINT products_price_range CHECK (price BETWEEN 0 AND 999999999999999) NOT VALID;
ALTER TABLE order_lines
    DROP CONSTRAINT order_lines_unit_price_range,
    ADD CONSTRAINT order_lines_unit_price_range CHECK (unit_price BETWEEN 0 AND 999999999999999) NOT VALID;

-- Amounts are minor units of this currency. The first server that starts writes its own, and one
-- with another currency does not start: no amount would be what it was.
CREATE TABLE currency (
    code     text    PRIMARY KEY CONSTRAINT currency_code_form CHECK (code ~ '^[A-Z]{3}$'),
    only_row boolean NOT NULL DEFAULT true CONSTRAINT currency_is_one UNIQUE CHECK (only_row)
);

COMMENT ON TABLE currency IS 'The currency of every amount; one row, once a server has started';
COMMENT ON COLUMN currency.code IS 'Code of ISO 4217';
COMMENT ON COLUMN currency.only_row IS 'Always true: there is one row';
