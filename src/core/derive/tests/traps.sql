-- Beside shop.sql: what the traps of derivation need.
CREATE ROLE reader;
CREATE TABLE note(id int PRIMARY KEY, owner int NOT NULL, body text NOT NULL, size int GENERATED ALWAYS AS (length(body)) STORED,
    weight float8 NOT NULL DEFAULT 0, address inet, day date, at timestamptz, mark uuid, slug varchar(20), code char(4));
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner > 0 AND EXISTS (SELECT 1 FROM author a WHERE a.id = owner AND a.active));
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE word(id int PRIMARY KEY, spelling text COLLATE loose NOT NULL);
ALTER TABLE word ENABLE ROW LEVEL SECURITY;
CREATE POLICY long ON word USING (length(spelling) > 1);
CREATE FUNCTION peek(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM tag WHERE id = $1); END';
CREATE FUNCTION double(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * 2; END';
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far(id int) SERVER elsewhere;
CREATE UNLOGGED TABLE quick(id int PRIMARY KEY);
CREATE MATERIALIZED VIEW best AS SELECT product_id FROM review WHERE stars = 5;
