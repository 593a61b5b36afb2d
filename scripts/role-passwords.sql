-- Gives the roles of roles.sql their passwords, from the environment of psql. What stands there is in no
-- command line, and not in the log of the database.
\getenv owner ORDERS_OWNER_PASSWORD
\getenv app ORDERS_APP_PASSWORD
SET log_statement = 'none';
ALTER ROLE orders_owner PASSWORD :'owner';
ALTER ROLE orders_app PASSWORD :'app';
