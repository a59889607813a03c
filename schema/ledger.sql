-- The ledger of bear's write queue, format 1. May be run again: what exists is left as it is.
-- The role that bear connects as needs USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables:
--   GRANT USAGE ON SCHEMA bear TO bear_role; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bear TO bear_role;

CREATE SCHEMA IF NOT EXISTS bear;

CREATE TABLE IF NOT EXISTS bear.ledger (
    queue    pg_catalog.int8        NOT NULL,
    epoch    pg_catalog.int8        NOT NULL,
    lane     pg_catalog.int2        NOT NULL,
    space    pg_catalog.text        NOT NULL,
    mark_ms  pg_catalog.int8        NOT NULL,
    mark_seq pg_catalog.int8        NOT NULL,
    token    pg_catalog.int8        NOT NULL,
    changed  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (queue, epoch, lane)
) WITH (fillfactor = 50);
COMMENT ON TABLE bear.ledger IS 'bear: up to which job (mark) each queue has been applied, by epoch and lane (0 main, 1 side); changed in the transaction that applies the jobs';

CREATE TABLE IF NOT EXISTS bear.left_out (
    queue   pg_catalog.int8        NOT NULL,
    epoch   pg_catalog.int8        NOT NULL,
    ms      pg_catalog.int8        NOT NULL,
    seq     pg_catalog.int8        NOT NULL,
    failed  pg_catalog.jsonb,
    changed pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (queue, epoch, ms, seq)
);
COMMENT ON TABLE bear.left_out IS 'bear: jobs up to the mark of their queue that have not been applied: waiting (failed is null), or failed for good';

CREATE TABLE IF NOT EXISTS bear.ledger_version (
    version pg_catalog.int4 PRIMARY KEY
);
COMMENT ON TABLE bear.ledger_version IS 'bear: format of the ledger';
INSERT INTO bear.ledger_version (version) SELECT 1 WHERE NOT EXISTS (SELECT FROM bear.ledger_version);
