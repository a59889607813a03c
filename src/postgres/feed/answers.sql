-- What the words of statements may mean, and all that depends on it, as one number for each section. $1, $2: sections, and a
-- word of each. What is left out on purpose: statistics, indexes, rights, partitions, temporary tables. A relation's row type is
-- written anew when it is renamed, so that one that has another name for a moment shows.
-- Each step goes by the key of what it looks up, whatever the planner holds of catalogs that nobody has analyzed: casts keep ranges of
-- oids from their index, OFFSET 0 the order of joins, and CASE what but few types have from all others.
WITH RECURSIVE word(section, w) AS (SELECT * FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int4[]), pg_catalog.unnest($2::pg_catalog.name[]))),
temp(oid) AS (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.~) '^pg_(toast_)?temp_'),
reach(section, class, obj) AS (
 SELECT word.section, 1259::pg_catalog.oid, c.oid FROM word JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) word.w
  WHERE c.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384::pg_catalog.int8 AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','v','m','f']::pg_catalog."char"[]) AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
 UNION SELECT word.section, 1255::pg_catalog.oid, p.oid FROM word JOIN pg_catalog.pg_proc p ON p.proname OPERATOR(pg_catalog.=) word.w
  WHERE p.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384::pg_catalog.int8 AND p.pronamespace OPERATOR(pg_catalog.<>) ALL (SELECT temp.oid FROM temp)
 UNION SELECT word.section, 1247::pg_catalog.oid, t.oid FROM word JOIN pg_catalog.pg_type t ON t.typname OPERATOR(pg_catalog.=) word.w
  WHERE t.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384::pg_catalog.int8 AND t.typnamespace OPERATOR(pg_catalog.<>) ALL (SELECT temp.oid FROM temp)
 UNION SELECT r.section, e.class, e.obj FROM reach r CROSS JOIN LATERAL (
  SELECT 1247::pg_catalog.oid AS class, a.atttypid AS obj FROM pg_catalog.pg_attribute a
   WHERE r.class OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND a.attrelid OPERATOR(pg_catalog.=) r.obj AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_rewrite w CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) w.oid OFFSET 0) d
   WHERE r.class OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND w.ev_class OPERATOR(pg_catalog.=) r.obj
  UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_policy y CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 3256::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) y.oid OFFSET 0) d
   WHERE r.class OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND y.polrelid OPERATOR(pg_catalog.=) r.obj
  UNION ALL SELECT 1247::pg_catalog.oid, x.oid FROM pg_catalog.pg_type t CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[t.typelem, t.typbasetype]) x(oid)
   WHERE r.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND t.oid OPERATOR(pg_catalog.=) r.obj
  UNION ALL SELECT 1259::pg_catalog.oid, t.typrelid FROM pg_catalog.pg_type t WHERE r.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND t.oid OPERATOR(pg_catalog.=) r.obj AND t.typtype OPERATOR(pg_catalog.=) 'c'
  UNION ALL SELECT 1247::pg_catalog.oid, g.rngsubtype FROM pg_catalog.pg_type t CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_range g WHERE g.rngtypid OPERATOR(pg_catalog.=) t.oid OFFSET 0) g
   WHERE r.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND t.oid OPERATOR(pg_catalog.=) r.obj AND t.typtype OPERATOR(pg_catalog.=) 'r'
  UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_type t CROSS JOIN LATERAL (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.contypid OPERATOR(pg_catalog.=) t.oid OFFSET 0) k
   CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) k.oid OFFSET 0) d
   WHERE r.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND t.oid OPERATOR(pg_catalog.=) r.obj AND t.typtype OPERATOR(pg_catalog.=) 'd'
  UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d WHERE r.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND d.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) r.obj
  UNION ALL SELECT n.class, n.obj FROM (SELECT DISTINCT s.w::pg_catalog.name AS w FROM pg_catalog.pg_proc p
    CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(p.prosrc OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) pg_catalog.lower(p.prosrc), '[^[:alnum:]_]+') s(w)
    WHERE r.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) r.obj AND p.prolang OPERATOR(pg_catalog.<>) ALL (ARRAY[12::pg_catalog.oid, 13::pg_catalog.oid]) AND p.probin IS NULL) body
   CROSS JOIN LATERAL (
    SELECT 1259::pg_catalog.oid AS class, c.oid AS obj FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.=) body.w AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','v','m','f']::pg_catalog."char"[]) AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
    UNION ALL SELECT 1255::pg_catalog.oid, p.oid FROM pg_catalog.pg_proc p WHERE p.proname OPERATOR(pg_catalog.=) body.w AND p.pronamespace OPERATOR(pg_catalog.<>) ALL (SELECT temp.oid FROM temp)
    UNION ALL SELECT 1247::pg_catalog.oid, t.oid FROM pg_catalog.pg_type t WHERE t.typname OPERATOR(pg_catalog.=) body.w AND t.typnamespace OPERATOR(pg_catalog.<>) ALL (SELECT temp.oid FROM temp)) n
  ) e WHERE e.obj::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384::pg_catalog.int8 AND e.class OPERATOR(pg_catalog.=) ANY (ARRAY[1259::pg_catalog.oid, 1247::pg_catalog.oid, 1255::pg_catalog.oid])
),
part(section, x) AS (
 SELECT r.section, pg_catalog.concat_ws(',', 'c', c.oid, n.nspname, c.relname, (SELECT y.xmin FROM pg_catalog.pg_type y WHERE y.oid OPERATOR(pg_catalog.=) c.reltype), c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
   CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','m']::pg_catalog."char"[]) THEN c.relfilenode END, CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN c.reloptions END,
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attisdropped, a.attgenerated,
      CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'p' THEN a.xmin END), ';' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0),
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', w.oid, w.xmin), ';' ORDER BY w.oid) FROM pg_catalog.pg_rewrite w WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid),
   (SELECT pg_catalog.string_agg(pg_catalog.to_jsonb(y)::pg_catalog.text, ';' ORDER BY y.oid) FROM pg_catalog.pg_policy y WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid),
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', f.oid, f.xmin), ';' ORDER BY f.oid) FROM pg_catalog.pg_attrdef f
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) f.adrelid AND a.attnum OPERATOR(pg_catalog.=) f.adnum WHERE f.adrelid OPERATOR(pg_catalog.=) c.oid AND a.attgenerated OPERATOR(pg_catalog.<>) ''),
   CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'f' THEN (SELECT pg_catalog.concat_ws(':', f.ftoptions, s.oid, s.srvoptions) FROM pg_catalog.pg_foreign_table f
      JOIN pg_catalog.pg_foreign_server s ON s.oid OPERATOR(pg_catalog.=) f.ftserver WHERE f.ftrelid OPERATOR(pg_catalog.=) c.oid) END)
  FROM reach r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.obj JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE r.class OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
 UNION ALL SELECT r.section, pg_catalog.concat_ws(',', 't', t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault,
   t.typcollation, t.typinput, t.typoutput,
   CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'e' THEN (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', e.enumsortorder, e.enumlabel), ';' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid) END,
   CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', k.oid, k.conbin), ';' ORDER BY k.oid) FROM pg_catalog.pg_constraint k WHERE k.contypid OPERATOR(pg_catalog.=) t.oid) END)
  FROM reach r JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.obj JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace WHERE r.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
 UNION ALL SELECT r.section, pg_catalog.concat_ws(',', 'p', n.nspname, pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text,
   CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'a' THEN (SELECT pg_catalog.to_jsonb(g) FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid OPERATOR(pg_catalog.=) p.oid) END)
  FROM reach r JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) r.obj JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace WHERE r.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid
),
every(x) AS (
 SELECT 'o' OPERATOR(pg_catalog.||) o.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) o.xmin::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) coalesce(p.xmin::pg_catalog.text, '') FROM pg_catalog.pg_operator o LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'k' OPERATOR(pg_catalog.||) k.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) k.xmin::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) coalesce(p.xmin::pg_catalog.text, '') FROM pg_catalog.pg_cast k LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) k.castfunc AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'l' OPERATOR(pg_catalog.||) l.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) l.xmin::pg_catalog.text FROM pg_catalog.pg_collation l WHERE l.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'b' OPERATOR(pg_catalog.||) b.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) b.xmin::pg_catalog.text FROM pg_catalog.pg_opclass b WHERE b.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'x' OPERATOR(pg_catalog.||) x.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) x.xmin::pg_catalog.text FROM pg_catalog.pg_ts_config x WHERE x.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'm' OPERATOR(pg_catalog.||) m.mapcfg::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) m.xmin::pg_catalog.text FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 'd' OPERATOR(pg_catalog.||) d.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) d.xmin::pg_catalog.text FROM pg_catalog.pg_ts_dict d WHERE d.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
 UNION ALL SELECT 's' OPERATOR(pg_catalog.||) s.setdatabase::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) s.setrole::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(s.setconfig, ',') FROM pg_catalog.pg_db_role_setting s
  WHERE s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())])
   AND s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname OPERATOR(pg_catalog.=) SESSION_USER)])
)
SELECT part.section, pg_catalog.hashtextextended(pg_catalog.string_agg(part.x, E'\n' ORDER BY part.x)
  OPERATOR(pg_catalog.||) (SELECT coalesce(pg_catalog.string_agg(every.x, ',' ORDER BY every.x), '') FROM every), 0) FROM part GROUP BY part.section
