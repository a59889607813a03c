-- Rows for the jobs of the catalog's page.
CREATE TABLE account (id bigint PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0));
INSERT INTO account VALUES (1, 100), (2, 0);
