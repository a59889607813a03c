-- The outbox, format 1: what the change feed reads where Postgres may not decode its WAL. May be run again.
-- The role that bear connects as needs
--   GRANT USAGE ON SCHEMA bear TO bear_role; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bear TO bear_role;
--   GRANT SELECT, UPDATE ON SEQUENCE bear.outbox_alive TO bear_role;
-- and, to make the triggers by itself, CREATE on the schema and the ownership of the tables that the catalog names.
-- Roles of applications need no rights here: the triggers' functions run as whoever made them.
--
-- Nothing here outlives a crash, nor needs to: whoever reads begins anew then.
-- To be rid of all of it: SELECT bear.outbox_uninstall();

CREATE SCHEMA IF NOT EXISTS bear;

CREATE UNLOGGED TABLE IF NOT EXISTS bear.outbox (
    xid    pg_catalog.xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    source pg_catalog.int8 NOT NULL,
    vals   pg_catalog.text[]
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false);
CREATE INDEX IF NOT EXISTS outbox_xid ON bear.outbox (xid);
COMMENT ON TABLE bear.outbox IS 'bear: changed rows by the columns that a catalog names, as they were and as they became (twice as many: both at once); vals null: any row of the table';

CREATE UNLOGGED TABLE IF NOT EXISTS bear.outbox_reader (
    reader   pg_catalog.int8        PRIMARY KEY,
    sources  pg_catalog.int8[]      NOT NULL,
    snapshot pg_catalog.pg_snapshot NOT NULL,
    seen_at  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE bear.outbox_reader IS 'bear: who reads the outbox; what the snapshot sees has been read';

CREATE TABLE IF NOT EXISTS bear.outbox_source (
    source  pg_catalog.int8   PRIMARY KEY,
    name    pg_catalog.text   NOT NULL,
    tab     pg_catalog.text   NOT NULL,
    columns pg_catalog.text[] NOT NULL
);
COMMENT ON TABLE bear.outbox_source IS 'bear: functions and triggers that write to the outbox';

-- When a reader was last there, in seconds since 1970. A sequence, because every transaction sees its last value:
-- where nobody has read for ten minutes the triggers write nothing, whatever snapshot they have.
CREATE SEQUENCE IF NOT EXISTS bear.outbox_alive;

CREATE OR REPLACE FUNCTION bear.outbox_version() RETURNS pg_catalog.int4 LANGUAGE sql IMMUTABLE AS 'SELECT 1';

-- Locks tables one after the other, and waits for all of them together no longer than lock_timeout says, or 100 ms where it says
-- nothing: whoever comes to the first meanwhile waits, too. What is left of that time is the transaction's lock_timeout then.
CREATE OR REPLACE FUNCTION bear.outbox_lock(tabs pg_catalog.oid[], mode pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $lock$
DECLARE
    tab_name text;
    ends timestamptz := clock_timestamp() + coalesce(nullif(current_setting('lock_timeout')::interval, '0'::interval), '100ms'::interval);
BEGIN
    FOR tab_name IN SELECT format('%I.%I', n.nspname, c.relname) FROM unnest(tabs) WITH ORDINALITY t(oid, at)
        JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY t.at
    LOOP
        PERFORM set_config('lock_timeout', greatest(1, ceil(extract(epoch FROM ends - clock_timestamp()) * 1000))::int8::text, true);
        EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', tab_name, mode);
    END LOOP;
END $lock$;

-- Makes the triggers of a table, if they are not there yet; tells by which number their rows are known.
-- The name is a hash of all that the function does, so that catalogs that want different columns do not meet.
-- paired: of an UPDATE the old row and the new one are written as one, where it is known which became which: by row, or by the
-- primary key where that is as it was.
CREATE OR REPLACE FUNCTION bear.outbox_follow(tab pg_catalog.regclass, cols pg_catalog.text[], paired pg_catalog.bool) RETURNS pg_catalog.int8 LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $follow$
DECLARE
    tab_name text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = tab);
    -- Who writes to a table of a tree may name another one of it, which is the one whose statement triggers fire; and
    -- what a subscription applies fires none of them.
    by_row bool := EXISTS (SELECT FROM pg_class WHERE oid = tab AND relkind = 'p')
        OR EXISTS (SELECT FROM pg_inherits WHERE tab IN (inhparent, inhrelid))
        OR EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = tab);
    -- The text of other types depends on what the application has set.
    pins text := CASE WHEN EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = tab AND a.attname = ANY (cols) AND t.typtype <> 'e' AND t.oid <> ALL (ARRAY['int2', 'int4', 'int8',
                'text', 'varchar', 'bpchar', 'uuid', 'bool', 'numeric']::regtype[]))
        THEN ' SET "DateStyle" = ''ISO, YMD'' SET "TimeZone" = ''UTC'' SET "IntervalStyle" = ''postgres'' SET bytea_output = ''hex'' SET extra_float_digits = 1'
        ELSE '' END;
    -- The primary key's columns as text: no operator of the application's is called.
    keys text := (SELECT string_agg(format('r.%I::text', a.attname), ', ' ORDER BY a.attnum) FROM pg_index x JOIN pg_attribute a
        ON a.attrelid = x.indrelid AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
        WHERE x.indrelid = tab AND x.indisprimary AND paired AND NOT by_row AND cardinality(cols) > 0);
    body text;
    src int8;
    hash text;
    member record;
    wanted record;
    found_enabled "char";
BEGIN
    PERFORM pg_advisory_xact_lock(7089054476170785127);
    IF EXISTS (SELECT FROM unnest(cols) col WHERE NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped)) THEN
        RAISE undefined_column USING MESSAGE = format('%s lacks one of the columns %s', tab_name, array_to_string(cols, ', '));
    END IF;

    -- A write of the application must not fail because a column is gone, or the outbox is: until the reader has
    -- noticed, any row may have changed. What may fail stands in a block of its own, which writes nothing, so that it
    -- takes no transaction id.
    IF by_row THEN
        body := $body$
DECLARE alive int8; was text[]; now_is text[]; unclear bool := @none@;
BEGIN
    BEGIN
        SELECT a.last_value INTO alive FROM bear.outbox_alive a;
        IF TG_OP IN ('UPDATE', 'DELETE') THEN was := @old@; END IF;
        IF TG_OP IN ('UPDATE', 'INSERT') THEN now_is := @new@; END IF;
    EXCEPTION WHEN undefined_column THEN unclear := true; WHEN undefined_table THEN RETURN NULL;
    END;
    IF alive < extract(epoch FROM clock_timestamp())::int8 - 600 THEN RETURN NULL; END IF;
    IF unclear OR TG_OP = 'TRUNCATE' THEN
        INSERT INTO bear.outbox (source) VALUES (@source@);
        RETURN NULL;
    END IF;
    @write@
    RETURN NULL;
END $body$;
        body := replace(body, '@write@', CASE WHEN paired
            THEN 'INSERT INTO bear.outbox (source, vals) VALUES (@source@, was || now_is);'
            ELSE 'IF was IS NOT NULL THEN INSERT INTO bear.outbox (source, vals) VALUES (@source@, was); END IF;
    IF now_is IS DISTINCT FROM was AND now_is IS NOT NULL THEN INSERT INTO bear.outbox (source, vals) VALUES (@source@, now_is); END IF;' END);
        body := replace(body, '@old@', coalesce((SELECT format('ARRAY[%s]', string_agg(format('OLD.%I::text', col), ', ' ORDER BY at)) FROM unnest(cols) WITH ORDINALITY c(col, at) HAVING count(*) > 0), 'NULL'));
        body := replace(body, '@new@', coalesce((SELECT format('ARRAY[%s]', string_agg(format('NEW.%I::text', col), ', ' ORDER BY at)) FROM unnest(cols) WITH ORDINALITY c(col, at) HAVING count(*) > 0), 'NULL'));
    ELSE
        -- What an UPDATE left as it was is written once.
        body := $body$
DECLARE alive int8; changed int8; unclear bool := @none@;
BEGIN
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT a.last_value, (SELECT count(*) FROM (SELECT @seen@ FROM bear_new r LIMIT 10001) m) INTO alive, changed
                FROM bear.outbox_alive a;
        ELSIF TG_OP IN ('UPDATE', 'DELETE') THEN
            SELECT a.last_value, (SELECT count(*) FROM (SELECT @seen@ FROM bear_old r LIMIT 10001) m) INTO alive, changed
                FROM bear.outbox_alive a;
        ELSE
            SELECT a.last_value INTO alive FROM bear.outbox_alive a;
        END IF;
    EXCEPTION WHEN undefined_column THEN unclear := true; WHEN undefined_table THEN RETURN NULL;
    END;
    IF changed = 0 OR alive < extract(epoch FROM clock_timestamp())::int8 - 600 THEN RETURN NULL; END IF;
    IF unclear OR TG_OP = 'TRUNCATE' OR changed > 10000 THEN
        INSERT INTO bear.outbox (source) VALUES (@source@);
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO bear.outbox (source, vals) SELECT @source@, u.v FROM (@update@) u;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO bear.outbox (source, vals) SELECT DISTINCT @source@, @vals@ FROM bear_new r;
    ELSE
        INSERT INTO bear.outbox (source, vals) SELECT DISTINCT @source@, @vals@ FROM bear_old r;
    END IF;
    RETURN NULL;
END $body$;
        body := replace(body, '@update@', CASE WHEN keys IS NULL
            THEN 'SELECT @vals@ AS v FROM bear_old r UNION SELECT @vals@ FROM bear_new r'
            ELSE 'SELECT DISTINCT o.v || n.v AS v FROM (SELECT @vals@ AS v, ARRAY[@keys@] AS k FROM bear_old r) o '
                'FULL JOIN (SELECT @vals@ AS v, ARRAY[@keys@] AS k FROM bear_new r) n ON o.k = n.k' END);
        body := replace(body, '@keys@', coalesce(keys, ''));
        body := replace(body, '@seen@', concat_ws(', ', '@columns@', keys));
        body := replace(body, '@vals@', 'ARRAY[@columns@]::text[]');
        body := replace(body, '@columns@', coalesce((SELECT string_agg(format('r.%I::text', col), ', ' ORDER BY at) FROM unnest(cols) WITH ORDINALITY c(col, at)), ''));
    END IF;
    body := replace(body, '@none@', (cardinality(cols) = 0)::text);
    hash := left(md5(concat_ws(E'\n', tab_name, by_row::text, pins, body)), 16);
    src := ('x' || hash)::bit(64)::int8;
    body := replace(body, '@source@', quote_literal(src) || '::int8');

    IF to_regprocedure(format('bear.bear_outbox_%s()', hash)) IS NULL THEN
        -- It would run as a role that may not write here, and the application's writes would fail.
        IF NOT has_table_privilege('bear.outbox', 'INSERT') OR NOT has_sequence_privilege('bear.outbox_alive', 'SELECT') THEN
            RAISE insufficient_privilege USING MESSAGE = format('the role %I may not write to bear.outbox', current_user);
        END IF;
        EXECUTE format('CREATE FUNCTION bear.bear_outbox_%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp%s AS %L',
            hash, pins, body);
        EXECUTE format('COMMENT ON FUNCTION bear.bear_outbox_%s() IS %L', hash, 'bear: writes changes of ' || tab_name || ' to bear.outbox');
    END IF;
    IF NOT EXISTS (SELECT FROM bear.outbox_source s WHERE s.source = src) THEN
        INSERT INTO bear.outbox_source VALUES (src, 'bear_outbox_' || hash, tab_name, cols);
    END IF;

    -- Where something is to be made, all locks at once.
    PERFORM bear.outbox_lock(ARRAY(WITH RECURSIVE tree(oid, depth) AS (SELECT tab::oid, 0 UNION ALL
            SELECT i.inhrelid, tree.depth + 1 FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)
        SELECT t.oid FROM (SELECT oid, min(depth) AS depth FROM tree GROUP BY oid) t
        WHERE (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = t.oid AND left(g.tgname::text, -2) = 'bear_outbox_' || hash
            AND g.tgenabled = 'A') < CASE WHEN by_row THEN 2 ELSE 4 END
        ORDER BY t.depth, t.oid), 'SHARE ROW EXCLUSIVE');

    -- The root first: it gives its row trigger to its partitions. A TRUNCATE fires nothing but the trigger of the
    -- very table that it names or reaches.
    FOR member IN WITH RECURSIVE tree(oid, depth) AS (SELECT tab::oid, 0 UNION ALL
            SELECT i.inhrelid, tree.depth + 1 FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name FROM (SELECT oid, min(depth) AS depth FROM tree GROUP BY oid) t
        JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY t.depth, c.oid
    LOOP
        FOR wanted IN SELECT format('bear_outbox_%s_%s', hash, suffix) AS name, does FROM (VALUES
                (true, 'r', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'),
                (false, 'i', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS bear_new FOR EACH STATEMENT'),
                (false, 'u', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS bear_old NEW TABLE AS bear_new FOR EACH STATEMENT'),
                (false, 'd', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS bear_old FOR EACH STATEMENT'),
                (NULL, 't', 'AFTER TRUNCATE ON %s FOR EACH STATEMENT')) w(for_rows, suffix, does)
            WHERE coalesce(for_rows = by_row, true)
        LOOP
            SELECT g.tgenabled INTO found_enabled FROM pg_trigger g WHERE g.tgrelid = member.oid AND g.tgname = wanted.name;
            IF NOT FOUND THEN
                EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION bear.bear_outbox_%s()', wanted.name, format(wanted.does, member.name), hash);
            END IF;
            IF found_enabled IS DISTINCT FROM 'A' THEN
                EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', member.name, wanted.name);
            END IF;
        END LOOP;
    END LOOP;
    RETURN src;
END $follow$;

-- Drops the function and the triggers of a source.
CREATE OR REPLACE FUNCTION bear.outbox_unfollow(source pg_catalog.int8) RETURNS pg_catalog.void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $unfollow$
DECLARE function_name text := (SELECT s.name FROM bear.outbox_source s WHERE s.source = outbox_unfollow.source);
BEGIN
    PERFORM pg_advisory_xact_lock(7089054476170785127);
    PERFORM bear.outbox_lock(ARRAY(SELECT g.tgrelid FROM pg_trigger g
        WHERE g.tgfoid = to_regprocedure(format('bear.%I()', function_name))::oid GROUP BY g.tgrelid ORDER BY g.tgrelid), 'ACCESS EXCLUSIVE');
    EXECUTE format('DROP FUNCTION IF EXISTS bear.%I() CASCADE', function_name);
    DELETE FROM bear.outbox_source s WHERE s.source = outbox_unfollow.source;
END $unfollow$;

-- Drops a source that no reader wants any more, one at a time; tells which table was meant.
CREATE OR REPLACE FUNCTION bear.outbox_sweep() RETURNS pg_catalog.text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $sweep$
DECLARE unused record;
BEGIN
    -- Whoever wants one registers, and then makes sure, under the same lock, that it is there.
    PERFORM pg_advisory_xact_lock(7089054476170785127);
    SELECT s.source, s.tab INTO unused FROM bear.outbox_source s
        WHERE NOT EXISTS (SELECT FROM bear.outbox_reader r WHERE s.source = ANY (r.sources)) LIMIT 1;
    IF FOUND THEN PERFORM bear.outbox_unfollow(unused.source); END IF;
    RETURN unused.tab;
END $sweep$;

CREATE OR REPLACE FUNCTION bear.outbox_uninstall() RETURNS pg_catalog.void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $uninstall$
BEGIN
    PERFORM bear.outbox_unfollow(s.source) FROM bear.outbox_source s;
    PERFORM bear.outbox_lock(ARRAY['bear.outbox', 'bear.outbox_reader', 'bear.outbox_source']::regclass[]::oid[], 'ACCESS EXCLUSIVE');
    DROP TABLE bear.outbox, bear.outbox_reader, bear.outbox_source;
    DROP SEQUENCE bear.outbox_alive;
    DROP FUNCTION bear.outbox_version(), bear.outbox_lock(oid[], text), bear.outbox_follow(regclass, text[], bool), bear.outbox_unfollow(int8), bear.outbox_sweep(), bear.outbox_uninstall();
END $uninstall$;
