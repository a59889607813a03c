-- What is strange about the schema bear, the worst first: whose it is, who else may put things there, what stands there
-- that bear did not make and that would run as whoever writes. Nothing, where there is nothing strange. Read with the
-- search_path pg_catalog, pg_temp. Whoever adds a table or a column to schema/*.sql adds it here.
WITH schema AS (SELECT n.oid, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'bear'),
ours (name, kind, columns) AS (VALUES
    ('ledger', 'r', 'queue bigint, epoch bigint, lane smallint, space text, mark_ms bigint, mark_seq bigint, token bigint, changed timestamp with time zone'),
    ('left_out', 'r', 'queue bigint, epoch bigint, ms bigint, seq bigint, failed jsonb, changed timestamp with time zone'),
    ('ledger_version', 'r', 'version integer'),
    ('outbox', 'r', 'xid xid8, source bigint, vals text[]'),
    ('outbox_reader', 'r', 'reader bigint, sources bigint[], snapshot pg_snapshot, seen_at timestamp with time zone'),
    ('outbox_source', 'r', 'source bigint, name text, tab text, columns text[]'),
    ('outbox_alive', 'S', NULL),
    ('inbox', 'r', 'xid xid8, place bigint, due timestamp with time zone, enqueued timestamp with time zone, fence bigint, done bigint, backoff_ms bigint, attempts integer, priority integer, space text, job text, data jsonb, unique_key text, result jsonb, failed jsonb'),
    ('inbox_owner', 'r', 'section text, owner bigint, generation bigint, name text, seen timestamp with time zone'),
    ('inbox_job', 'r', 'section text, job text, kind text'),
    ('inbox_place', 'S', NULL)),
-- The one trigger that bear makes on a table of its own.
own_trigger AS (SELECT g.oid, g.tgconstraint FROM pg_trigger g WHERE g.tgrelid = to_regclass('bear.inbox') AND g.tgname = 'inbox_place'
    AND g.tgfoid = to_regprocedure('bear.inbox_set_place()') AND g.tgdeferrable AND g.tginitdeferred AND g.tgqual IS NULL),
rel AS (SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind, c.relowner, c.relacl, c.relrowsecurity,
    o.kind AS wanted, o.columns FROM schema JOIN pg_class c ON c.relnamespace = schema.oid LEFT JOIN ours o ON o.name = c.relname),
-- Whoever may act as this role or as the database's owner, which superusers may.
trusted AS (SELECT r.oid FROM pg_roles r, pg_database d WHERE d.datname = current_database() AND (r.rolname = 'pg_database_owner'
    OR pg_has_role(r.oid, d.datdba, 'MEMBER') OR pg_has_role(r.oid, (SELECT me.oid FROM pg_roles me WHERE me.rolname = current_user), 'MEMBER'))),
strange (rank, what, remedy) AS (
    SELECT 1, format('it belongs to the role %I', pg_get_userbyid(nspowner)), 'ALTER SCHEMA bear OWNER TO role'
        FROM schema WHERE nspowner NOT IN (SELECT oid FROM trusted)
    UNION ALL SELECT 2, format('the role %s may create in it', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END),
        format('REVOKE CREATE ON SCHEMA bear FROM %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM schema, aclexplode(schema.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted)
    UNION ALL SELECT 3, format('bear.%I belongs to the role %I', name, pg_get_userbyid(relowner)), 'drop it, or make it that of bear''s role'
        FROM rel WHERE relowner NOT IN (SELECT oid FROM trusted)
    UNION ALL SELECT 3, format('bear.%I(%s) belongs to the role %I', p.proname, pg_get_function_identity_arguments(p.oid), pg_get_userbyid(p.proowner)),
        'drop it, or make it that of bear''s role' FROM schema JOIN pg_proc p ON p.pronamespace = schema.oid WHERE p.proowner NOT IN (SELECT oid FROM trusted)
    UNION ALL SELECT 3, format('the type bear.%I belongs to the role %I', t.typname, pg_get_userbyid(t.typowner)),
        'drop it, or make it that of bear''s role' FROM schema JOIN pg_type t ON t.typnamespace = schema.oid WHERE t.typowner NOT IN (SELECT oid FROM trusted)
    UNION ALL SELECT 4, format('bear.%I is no %s', name, CASE wanted WHEN 'r' THEN 'table' ELSE 'sequence' END), 'drop or rename it'
        FROM rel WHERE kind <> wanted
    UNION ALL SELECT 5, format('bear.%I has other columns than bear makes', name), 'drop or rename it' FROM rel WHERE kind = 'r' AND wanted = 'r'
        AND columns IS DISTINCT FROM (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '')
    UNION ALL SELECT 6, format('bear.%I has the trigger %I', name, g.tgname), format('DROP TRIGGER %I ON bear.%I', g.tgname, name)
        FROM rel JOIN pg_trigger g ON g.tgrelid = rel.oid WHERE wanted IS NOT NULL AND NOT g.tgisinternal
            AND g.oid NOT IN (SELECT t.oid FROM own_trigger t)
    UNION ALL SELECT 6, format('bear.%I has the rule %I', name, w.rulename), format('DROP RULE %I ON bear.%I', w.rulename, name)
        FROM rel JOIN pg_rewrite w ON w.ev_class = rel.oid WHERE wanted IS NOT NULL
    UNION ALL SELECT 6, format('bear.%I has row-level security', name), format('ALTER TABLE bear.%I DISABLE ROW LEVEL SECURITY', name)
        FROM rel WHERE wanted IS NOT NULL AND relrowsecurity
    UNION ALL SELECT 6, format('bear.%I has the constraint %I', name, k.conname), format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname)
        FROM rel JOIN pg_constraint k ON rel.oid IN (k.conrelid, k.confrelid) WHERE wanted IS NOT NULL AND k.contype NOT IN ('p', 'n')
            AND k.oid NOT IN (SELECT t.tgconstraint FROM own_trigger t)
    UNION ALL SELECT 6, format('bear.%I has the index %s with an expression', name, x.indexrelid::regclass), format('DROP INDEX %s', x.indexrelid::regclass)
        FROM rel JOIN pg_index x ON x.indrelid = rel.oid WHERE wanted IS NOT NULL AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
    UNION ALL SELECT 6, format('bear.%I has a default of somebody''s own', name), 'drop it' FROM rel JOIN pg_attrdef f ON f.adrelid = rel.oid
        JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid WHERE wanted IS NOT NULL AND d.refobjid >= 16384 AND d.refobjid <> rel.oid
    UNION ALL SELECT 6, format('%s inherits from or is inherited by bear.%I', i.inhrelid::regclass, name), format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::regclass, i.inhparent::regclass)
        FROM rel JOIN pg_inherits i ON rel.oid IN (i.inhrelid, i.inhparent) WHERE wanted = 'r'
    UNION ALL SELECT 7, format('the role %s may make triggers of bear.%I', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, name),
        format('REVOKE TRIGGER ON bear.%I FROM %s', name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM rel, aclexplode(relacl) a WHERE wanted IS NOT NULL AND a.privilege_type = 'TRIGGER' AND a.grantee NOT IN (SELECT oid FROM trusted))
SELECT s.what, s.remedy FROM strange s ORDER BY s.rank, s.what LIMIT 1
