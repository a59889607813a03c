-- The inbox, format 1: jobs that an application enqueues within its own transaction. May be run again.
-- The role that bear connects as needs
--   GRANT USAGE ON SCHEMA bear TO bear_role;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON bear.inbox, bear.inbox_owner, bear.inbox_job TO bear_role;
-- a role that enqueues, and one whose workers complete jobs in their own transactions, no more than
--   GRANT USAGE ON SCHEMA bear TO app; GRANT EXECUTE ON FUNCTION bear.enqueue TO app;
--   GRANT USAGE ON SCHEMA bear TO worker; GRANT EXECUTE ON FUNCTION bear.complete TO worker;
-- The functions run as whoever made them.
--
-- To be rid of all of it: SELECT bear.inbox_uninstall();

CREATE SCHEMA IF NOT EXISTS bear;

-- Half of each page is for what becomes of the rows: a new version on the same page needs no new entries in the indexes.
CREATE TABLE IF NOT EXISTS bear.inbox (
    id         pg_catalog.int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        pg_catalog.xid8        NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    place      pg_catalog.int8,
    due        pg_catalog.timestamptz,
    enqueued   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    fence      pg_catalog.int8,
    done       pg_catalog.int8,
    backoff_ms pg_catalog.int8,
    attempts   pg_catalog.int4,
    priority   pg_catalog.int4,
    space      pg_catalog.text        NOT NULL,
    job        pg_catalog.text        NOT NULL,
    data       pg_catalog.jsonb       NOT NULL,
    unique_key pg_catalog.text,
    result     pg_catalog.jsonb,
    failed     pg_catalog.jsonb
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false, toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_cost_delay = 0);
-- One that was made when priorities ended at 10.
DO $wide$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) 'bear.inbox'::pg_catalog.regclass
            AND a.attname OPERATOR(pg_catalog.=) 'priority'::pg_catalog.name
            AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.int2'::pg_catalog.regtype::pg_catalog.oid) THEN
        ALTER TABLE bear.inbox ALTER COLUMN priority TYPE pg_catalog.int4;
    END IF;
END
$wide$;
CREATE INDEX IF NOT EXISTS inbox_xid ON bear.inbox (xid);
COMMENT ON TABLE bear.inbox IS 'bear: jobs that were enqueued in Postgres; a row stays until its job has settled';

-- The order of commits, as far as they do not happen at the same time.
CREATE SEQUENCE IF NOT EXISTS bear.inbox_place;

CREATE TABLE IF NOT EXISTS bear.inbox_owner (
    section    pg_catalog.text        PRIMARY KEY,
    owner      pg_catalog.int8        NOT NULL,
    generation pg_catalog.int8        NOT NULL,
    name       pg_catalog.text        NOT NULL,
    seen       pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE bear.inbox_owner IS 'bear: which data set of Redis takes the rows of a section over, and when it was last there';

CREATE TABLE IF NOT EXISTS bear.inbox_job (
    section pg_catalog.text NOT NULL,
    job     pg_catalog.text NOT NULL,
    kind    pg_catalog.text NOT NULL,
    PRIMARY KEY (section, job)
);
COMMENT ON TABLE bear.inbox_job IS 'bear: the jobs of the owners'' catalogs, so that bear.enqueue refuses others; kind sql or claimed, and how spaces of the section are written; job *: any name';

CREATE OR REPLACE FUNCTION bear.inbox_version() RETURNS pg_catalog.int4 LANGUAGE sql IMMUTABLE AS 'SELECT 1';

-- Fires at COMMIT, or at PREPARE TRANSACTION, or earlier where the application has said SET CONSTRAINTS ALL IMMEDIATE. By the
-- row's address: a look into the index would be what SERIALIZABLE transactions that enqueue at the same time conflict by.
CREATE OR REPLACE FUNCTION bear.inbox_set_place() RETURNS pg_catalog.trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $place$
BEGIN
    UPDATE bear.inbox SET place = nextval('bear.inbox_place'::regclass) WHERE ctid = NEW.ctid AND inbox.id = NEW.id;
    IF NOT FOUND THEN
        UPDATE bear.inbox SET place = nextval('bear.inbox_place'::regclass) WHERE inbox.id = NEW.id;
    END IF;
    RETURN NULL;
END $place$;

DO $make$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) 'bear.inbox'::pg_catalog.regclass::pg_catalog.oid
        AND g.tgname OPERATOR(pg_catalog.=) 'inbox_place') THEN
        CREATE CONSTRAINT TRIGGER inbox_place AFTER INSERT ON bear.inbox DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION bear.inbox_set_place();
    END IF;
END $make$;

-- Enqueues a job that exists once this transaction commits; its number in the inbox.
CREATE OR REPLACE FUNCTION bear.enqueue(space pg_catalog.text, job pg_catalog.text, data pg_catalog.jsonb,
    unique_key pg_catalog.text DEFAULT NULL, delay pg_catalog.interval DEFAULT NULL, at pg_catalog.timestamptz DEFAULT NULL,
    attempts pg_catalog.int4 DEFAULT NULL, backoff pg_catalog.interval DEFAULT NULL, priority pg_catalog.int4 DEFAULT NULL)
RETURNS pg_catalog.int8 LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $enqueue$
DECLARE
    -- Before the row has its number.
    own_xid xid8 := pg_current_xact_id();
    moment timestamptz := clock_timestamp();
    its_section text := substring(enqueue.space FROM '^(?:\{[^{}]+\}:)?([a-z_][a-z0-9_]*)$');
    its_kind text;
    its_form text;
    known_jobs text[];
    known_sections text[];
    its_due timestamptz;
    new_id int8;
    wrong text;
BEGIN
    -- What is as a rule: nothing is wrong, and there are no options.
    IF its_section IS NULL OR octet_length(enqueue.space) > 64 OR coalesce(octet_length(enqueue.job), 0) NOT BETWEEN 1 AND 128 OR enqueue.data IS NULL THEN
        wrong := CASE
            WHEN enqueue.space IS NULL THEN 'space must not be NULL'
            WHEN its_section IS NULL OR octet_length(its_section) > 64 OR octet_length(enqueue.space) > 1024
                THEN format('a space is written as section or as {tenant}:section, got %L', left(enqueue.space, 100))
            WHEN enqueue.job IS NULL THEN 'job must not be NULL'
            WHEN octet_length(enqueue.job) NOT BETWEEN 1 AND 128
                THEN format('the name of a job has 1 to 128 bytes, got %s', octet_length(enqueue.job))
            WHEN enqueue.data IS NULL THEN 'data must not be NULL; a job without fields takes ''{}''' END;
    END IF;
    IF wrong IS NULL AND num_nonnulls(enqueue.unique_key, enqueue.delay, enqueue.at, enqueue.attempts, enqueue.backoff, enqueue.priority) > 0 THEN
        wrong := CASE
            WHEN octet_length(enqueue.unique_key) > 1024
                THEN format('unique_key may hold 1024 bytes, got %s', octet_length(enqueue.unique_key))
            WHEN enqueue.delay IS NOT NULL AND enqueue.at IS NOT NULL
                THEN 'delay and at both say when the job is due; give one of them'
            WHEN enqueue.delay NOT BETWEEN '0'::interval AND '366 days'::interval
                THEN format('delay must be from 0 to 365 days, got %s', enqueue.delay)
            WHEN enqueue.at IN ('infinity', '-infinity') THEN format('at must be a moment, got %s', enqueue.at)
            WHEN enqueue.attempts NOT BETWEEN 1 AND 100 THEN format('attempts must be from 1 to 100, got %s', enqueue.attempts)
            WHEN enqueue.backoff NOT BETWEEN '0'::interval AND '1 day'::interval
                THEN format('backoff must be from 0 to 1 day, got %s', enqueue.backoff)
            WHEN enqueue.priority < 1 THEN format('priority must be 1 or more, got %s', enqueue.priority) END;
        IF wrong IS NULL THEN
            its_due := coalesce(enqueue.at, moment + enqueue.delay);
            IF its_due > moment + '365 days'::interval THEN
                wrong := format('a job is due within 365 days, got %s', coalesce(enqueue.at::text, enqueue.delay::text));
            ELSIF its_due <= moment THEN
                its_due := NULL;
            END IF;
        END IF;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'bear.enqueue: ' || wrong;
    END IF;

    its_kind := (SELECT j.kind FROM bear.inbox_job j WHERE j.section = its_section AND j.job = enqueue.job);
    IF its_kind IS NULL THEN
        its_kind := (SELECT j.kind FROM bear.inbox_job j WHERE j.section = its_section AND j.job = '*');
        IF its_kind IS NULL THEN
            -- In one statement, which sees one moment: bear may be writing its catalog.
            SELECT array_agg(j.job ORDER BY j.job) FILTER (WHERE j.section = its_section), array_agg(DISTINCT j.section)
                INTO known_jobs, known_sections FROM bear.inbox_job j;
            IF known_jobs IS NULL AND known_sections IS NOT NULL THEN
                wrong := format('no section with jobs is called %L; there are %s', its_section, array_to_string(known_sections, ', '));
            ELSIF NOT known_jobs && ARRAY[enqueue.job, '*'] THEN
                wrong := format('section %L has no job %L; it has %s', its_section, enqueue.job, array_to_string(known_jobs, ', '));
            END IF;
        END IF;
    ELSIF enqueue.priority IS NOT NULL AND split_part(its_kind, ' ', 1) = 'sql' THEN
        wrong := 'a job for Postgres has no priority: the order of its row decides';
    END IF;
    -- A tenant's type is left to bear. An earlier bear does not say how spaces are written.
    its_form := split_part(its_kind, ' ', 2);
    IF wrong IS NULL AND enqueue.space <> its_form AND its_form <> '' AND (its_form NOT LIKE '{*}:%' OR enqueue.space = its_section) THEN
        wrong := CASE
            WHEN its_form = its_section THEN format('%L has no tenant: the space must be written as %L', its_section, its_form)
            WHEN its_form LIKE '{*}:%'
                THEN format('%L is kept per tenant: the space must be written as %L', its_section, '{tenant}:' || its_section)
            ELSE format('%L is of the group %L: the space must be written as %L', its_section, substring(its_form FROM '^\{(.*)\}:'), its_form) END;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'bear.enqueue: ' || wrong;
    END IF;

    INSERT INTO bear.inbox (xid, due, enqueued, backoff_ms, attempts, priority, space, job, data, unique_key)
        VALUES (own_xid, its_due, moment, round(extract(epoch FROM enqueue.backoff) * 1000), enqueue.attempts, enqueue.priority,
            enqueue.space, enqueue.job, enqueue.data, enqueue.unique_key)
        RETURNING inbox.id INTO new_id;
    RETURN new_id;
END $enqueue$;
COMMENT ON FUNCTION bear.enqueue IS 'bear: enqueues a job that exists once this transaction commits';

-- Completes a claimed job with the commit of this transaction: raises where the token is not the one in force, and whatever else
-- the transaction has done is undone. The id is the job's, as BEAR.CLAIM gave it, or what bear.enqueue returned.
CREATE OR REPLACE FUNCTION bear.complete(space pg_catalog.text, id pg_catalog.text, token pg_catalog.int8,
    result pg_catalog.jsonb DEFAULT NULL)
RETURNS pg_catalog.void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $complete$
DECLARE
    parts text[] := regexp_match(complete.id, '^(?:([0-9]{1,20})-)?([0-9]{1,20})$');
    -- The number of a job's id within its millisecond is a multiple of 10^12 and the row's: none for what was enqueued in Redis.
    inbox_id numeric := CASE WHEN parts[1] IS NULL THEN parts[2]::numeric
        WHEN parts[2]::numeric >= 1000000000000 THEN parts[2]::numeric % 1000000000000 ELSE 0 END;
    its_row record;
BEGIN
    IF complete.space IS NULL OR complete.id IS NULL OR complete.token IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'bear.complete: space, id and token must not be NULL';
    ELSIF parts IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format(
            'bear.complete: an id is a job''s, such as 1795865095226-1000000000042, or what bear.enqueue returned, got %L', left(complete.id, 100));
    ELSIF inbox_id NOT BETWEEN 1 AND 999999999999 THEN
        RAISE invalid_parameter_value USING MESSAGE = format(
            'bear.complete: %s is no job of the inbox: it was enqueued in Redis, and BEAR.ACK completes it', complete.id);
    END IF;
    UPDATE bear.inbox i SET done = complete.token, result = complete.result, xid = pg_current_xact_id()
        WHERE i.id = inbox_id::int8 AND i.space = complete.space AND i.done IS NULL AND i.failed IS NULL AND coalesce(i.fence, 0) < complete.token;
    IF FOUND THEN RETURN; END IF;
    SELECT i.done, i.failed IS NOT NULL AS has_failed, i.fence INTO its_row FROM bear.inbox i
        WHERE i.id = inbox_id::int8 AND i.space = complete.space;
    RAISE SQLSTATE 'BE001' USING MESSAGE = format('bear.complete: job %s of %L ', complete.id, complete.space) || CASE
        WHEN NOT FOUND THEN 'is not in the inbox: it has settled, or there never was one'
        WHEN its_row.done IS NOT NULL THEN format('has been completed by token %s', its_row.done)
        WHEN its_row.has_failed THEN 'has failed'
        ELSE format('is not completed by token %s: those up to %s are not in force any more, their leases have ended or they were given back',
            complete.token, coalesce(its_row.fence, 0)) END;
END $complete$;
COMMENT ON FUNCTION bear.complete IS 'bear: completes a claimed job of the inbox with the commit of this transaction';

-- Drops all of it, and with `lose_jobs` also the jobs that have not settled.
CREATE OR REPLACE FUNCTION bear.inbox_uninstall(lose_jobs pg_catalog.bool DEFAULT false) RETURNS pg_catalog.void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $uninstall$
BEGIN
    LOCK TABLE bear.inbox IN ACCESS EXCLUSIVE MODE;
    IF NOT lose_jobs AND EXISTS (SELECT FROM bear.inbox i WHERE i.failed IS NULL) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'bear.inbox holds jobs that have not settled; to lose them: SELECT bear.inbox_uninstall(lose_jobs => true)';
    END IF;
    DROP TABLE bear.inbox, bear.inbox_owner, bear.inbox_job;
    DROP SEQUENCE bear.inbox_place;
    DROP FUNCTION bear.inbox_version(), bear.inbox_set_place(), bear.complete(text, text, int8, jsonb),
        bear.enqueue(text, text, jsonb, text, interval, timestamptz, int4, interval, int4), bear.inbox_uninstall(bool);
END $uninstall$;

-- Nobody calls these but their owner, unless granted.
REVOKE EXECUTE ON FUNCTION bear.inbox_set_place(), bear.inbox_uninstall(pg_catalog.bool),
    bear.complete(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb),
    bear.enqueue(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.interval, pg_catalog.timestamptz,
        pg_catalog.int4, pg_catalog.interval, pg_catalog.int4) FROM PUBLIC;
