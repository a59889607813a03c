-- What a role without rights can put in the way of other people's statements where they look for names in its schema: a
-- function, an operator, a type and a relation of each name that Postgres itself has, and operators for pairs of types
-- that Postgres compares by way of a cast. Whoever steps into one is told in the server's log, which no rollback undoes.
CREATE ROLE low_@ LOGIN;
CREATE SCHEMA evil AUTHORIZATION low_@;
GRANT CREATE ON SCHEMA public TO low_@;
SET SESSION AUTHORIZATION low_@;
SET search_path = pg_catalog;
SET check_function_bodies = off;
SET client_min_messages = error;

CREATE FUNCTION evil.took(what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'TAKEN %', what; RETURN true; END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;

-- Functions, aggregates and window functions.
DO $$
DECLARE p record;
BEGIN
    FOR p IN SELECT proname, pg_get_function_identity_arguments(oid) AS args, proretset, format_type(prorettype, NULL) AS ret
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind <> 'p' AND proname !~ '^(bt|gist|gin|brin|spg|hash|ri_|RI_)'
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L', p.proname,
                split_part(replace(p.args, ' ORDER BY ', ', '), 'OUT ', 1), CASE WHEN p.proretset THEN 'SETOF' ELSE '' END, p.ret,
                format('BEGIN PERFORM evil.took(%L); RETURN%s; END', 'the function ' || p.proname, CASE WHEN p.proretset THEN '' ELSE ' NULL' END));
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$;

-- Operators, those that Postgres has and those that it does without.
CREATE FUNCTION pg_temp.trap(name text, l regtype, r regtype, result regtype) RETURNS void LANGUAGE plpgsql AS $$
DECLARE step text := format('op_%s_%s_%s', coalesce(l::oid, 0), coalesce(r::oid, 0), result::oid);
BEGIN
    IF to_regprocedure(format('evil.%I(%s)', step, concat_ws(',', l, r))) IS NULL THEN
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', step, concat_ws(',', l, r), result,
            format('BEGIN PERFORM evil.took(%L); RETURN NULL; END', format('an operator of %s and %s', l, r)));
    END IF;
    EXECUTE format('CREATE OPERATOR evil.%s (%s function = evil.%I)', name,
        coalesce('leftarg = ' || l || ', ', '') || coalesce('rightarg = ' || r || ', ', ''), step);
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
SELECT count(pg_temp.trap(oprname, nullif(oprleft, 0)::regtype, nullif(oprright, 0)::regtype, oprresult::regtype))
    FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace;
SELECT count(pg_temp.trap(name, l, r, CASE name WHEN '||' THEN 'text' WHEN '->>' THEN 'text' WHEN '+' THEN 'int8' WHEN '-' THEN 'int8' WHEN '*' THEN 'int8' ELSE 'bool' END::regtype))
    FROM unnest('{=,<>,<,>,<=,>=,~,||,-,+,*,->>}'::text[]) name,
    unnest('{oid,regclass,regproc,regtype,regnamespace,name,text,"\"char\"",int2,int4,int8,numeric,float8,timestamptz,interval,xid,xid8,tid,bool,jsonb,json,"int2[]","int4[]","int8[]","text[]","oid[]",int2vector,pg_snapshot}'::regtype[]) l,
    unnest('{oid,regclass,regproc,regtype,regnamespace,name,text,"\"char\"",int2,int4,int8,numeric,float8,timestamptz,interval,xid,xid8,tid,bool,jsonb,json,"int2[]","int4[]","int8[]","text[]","oid[]",int2vector,pg_snapshot}'::regtype[]) r
    WHERE NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprname = name AND o.oprleft = l AND o.oprright = r);

-- Relations of the system, and of bear.
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') LOOP
        BEGIN
            EXECUTE format('CREATE VIEW evil.%I AS SELECT * FROM pg_catalog.%I WHERE evil.took(%L)', c.relname, c.relname, 'the relation ' || c.relname);
            EXECUTE format('GRANT SELECT ON evil.%I TO PUBLIC', c.relname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR c IN SELECT unnest('{ledger,left_out,ledger_version,outbox,outbox_reader,outbox_source,outbox_alive,bear_new,bear_old}'::text[]) AS relname LOOP
        EXECUTE format('CREATE VIEW evil.%I AS SELECT 1 AS version, 1 AS queue, 1 AS epoch, 1 AS source, 1 AS last_value WHERE evil.took(%L)', c.relname, 'the relation ' || c.relname);
        EXECUTE format('GRANT ALL ON evil.%I TO PUBLIC', c.relname);
    END LOOP;
END $$;

-- Types; last, for what is above takes those of the system.
DO $$
DECLARE t record;
BEGIN
    FOR t IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname !~ '^_' LOOP
        BEGIN
            EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil.took(%L))', t.typname, t.typname, 'the type ' || t.typname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$;
RESET SESSION AUTHORIZATION;
RESET search_path;
RESET check_function_bodies;
RESET client_min_messages;
