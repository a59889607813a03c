//! What Postgres knows of its relations: a query for each kind of fact, whatever the number of relations.
//!
//! All of it is of one moment, whatever a migration does meanwhile. What functions of Postgres' add (rights, names of types, texts of
//! defaults) is as it is when they are asked, and of a relation that has gone by then NULL: nobody may use it.
//!
//! What names mean to the role is asked under the path of the application, in statements that name the schema of all that they use.
//! From then on every name is one of `pg_catalog`.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::describe::BRIEF_LOCKS;
use super::reactions::reactions;
use super::untold::untold;
use super::zone::time_zone;
use crate::core::propose::facts::{
    Column, Database, Follows, ForeignKey, Identity, Key, Kind, Relation, Rights, Sequence, Sort, Type,
};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pinned::OWN_PATH;
use crate::postgres::connect::session::{Session, BEGIN_READ_ONE_MOMENT};

/// Relations and sequences that a bare name means.
const VISIBLE: &str = "SELECT c.oid::bigint FROM pg_catalog.pg_class c \
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array('r,p,v,m,f,S', ',')::pg_catalog.\"char\"[]) \
    AND pg_catalog.pg_table_is_visible(c.oid)";

/// Operators of extensions that a bare name means.
const VISIBLE_OPERATORS: &str = "SELECT o.oid::bigint FROM pg_catalog.pg_operator o \
    WHERE o.oprnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace AND pg_catalog.pg_operator_is_visible(o.oid)";

/// Types of columns, as the role needs to name them.
const TYPE_NAMES: &str = "SELECT t.oid::bigint, pg_catalog.format_type(t.oid, -1) FROM pg_catalog.pg_type t \
    WHERE t.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT DISTINCT a.atttypid FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid \
        WHERE a.attnum OPERATOR(pg_catalog.>) 0 \
        AND c.relkind OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array('r,p', ',')::pg_catalog.\"char\"[])))";

/// Of the schemas that are not Postgres' own; temporary ones are another session's, or gone with this one.
const RELATIONS: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, \
        obj_description(c.oid, 'pg_class'), c.relispartition, \
        EXISTS (SELECT FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND NOT k.relispartition), \
        c.relrowsecurity AND row_security_active(c.oid), \
        (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' LIMIT 1), \
        coalesce(has_schema_privilege(n.oid, 'USAGE'), false), \
        coalesce(has_table_privilege(c.oid, 'SELECT'), false), coalesce(has_table_privilege(c.oid, 'INSERT'), false), \
        coalesce(has_table_privilege(c.oid, 'UPDATE'), false), coalesce(has_table_privilege(c.oid, 'DELETE'), false) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

/// Of tables. Rights of columns count where the table's do not say so already. A NOT NULL that nobody has validated (18) says nothing of the
/// rows that are there. A default names no column: told of the relation, Postgres would lock it, and wait behind a migration.
const COLUMNS: &str = "SELECT a.attrelid::int8, a.attnum, a.attname::text, a.atttypid::int8, \
        a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' \
            AND NOT k.convalidated AND a.attnum = ANY (k.conkey)), \
        CASE WHEN a.attgenerated <> '' THEN NULL WHEN f.oid IS NOT NULL THEN pg_get_expr(f.adbin, 0) WHEN a.attidentity <> '' THEN NULL \
            WHEN t.typdefaultbin IS NOT NULL THEN pg_get_expr(t.typdefaultbin, 0) ELSE quote_literal(t.typdefault) END, a.attidentity::text, a.attgenerated <> '', \
        coalesce(has_table_privilege(c.oid, 'SELECT') OR has_column_privilege(c.oid, a.attnum, 'SELECT'), false), \
        coalesce(has_table_privilege(c.oid, 'INSERT') OR has_column_privilege(c.oid, a.attnum, 'INSERT'), false), \
        coalesce(has_table_privilege(c.oid, 'UPDATE') OR has_column_privilege(c.oid, a.attnum, 'UPDATE'), false) \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum \
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY a.attrelid, a.attnum";

/// Each with the type that it is made of: of a domain, what is left once all domains are looked through. The operator is the one that an
/// extension's type is equal by; Postgres' own are found under any path.
const TYPES: &str = "WITH RECURSIVE base(oid, base, refuses) AS (SELECT t.oid, t.oid, false FROM pg_type t WHERE t.typtype <> 'd' \
        UNION ALL SELECT t.oid, b.base, b.refuses OR t.typnotnull FROM base b JOIN pg_type t ON t.typbasetype = b.oid AND t.typtype = 'd'), \
    known AS (SELECT t.oid, b.base, b.refuses, y.typtype::text AS sort, CASE WHEN y.typcategory = 'A' AND y.typelem <> 0 THEN y.typelem END AS element \
        FROM pg_type t JOIN base b ON b.oid = t.oid JOIN pg_type y ON y.oid = b.base) \
    SELECT k.oid::int8, k.base::int8, k.sort, e.base::int8, e.sort, k.refuses, o.oid::int8, quote_ident(n.nspname) || '.' || o.oprname, \
        coalesce(has_schema_privilege(z.typnamespace, 'USAGE'), false) AND (n.oid IS NULL OR coalesce(has_schema_privilege(n.oid, 'USAGE'), false)) \
    FROM known k JOIN pg_type z ON z.oid = k.oid LEFT JOIN known e ON e.oid = k.element \
    LEFT JOIN pg_opclass c ON c.opcintype = k.base AND c.opcdefault AND c.opcmethod = (SELECT m.oid FROM pg_am m WHERE m.amname = 'btree') \
    LEFT JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype AND a.amopstrategy = 3 \
    LEFT JOIN pg_operator o ON o.oid = a.amopopr AND o.oprnamespace <> 'pg_catalog'::regnamespace \
    LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace \
    WHERE k.oid IN (SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0)";

/// What the values of columns are drawn from: of an identity, and of a default that names a sequence.
const SEQUENCES: &str = "SELECT d.refobjid::int8, d.refobjsubid::int2, s.oid::int8, n.nspname::text, s.relname::text, \
        coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(s.oid, 'USAGE'), false) \
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace \
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjsubid > 0 \
    UNION ALL SELECT f.adrelid::int8, f.adnum, s.oid::int8, n.nspname::text, s.relname::text, \
        coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(s.oid, 'USAGE'), false) \
    FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass \
    JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace";

/// Those by the equality that everybody means, the primary key first.
const KEYS: &str = "SELECT x.indrelid::int8, x.indisprimary, (x.indkey::int2[])[0:x.indnkeyatts - 1], \
        NOT EXISTS (SELECT FROM unnest(x.indclass::oid[]) used(oid) JOIN pg_opclass o ON o.oid = used.oid \
            WHERE o.opcnamespace <> 'pg_catalog'::regnamespace) \
    FROM pg_index x \
    WHERE x.indisunique AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL \
    AND NOT EXISTS (SELECT FROM unnest(x.indclass::oid[]) used(oid) JOIN pg_opclass o ON o.oid = used.oid \
        WHERE o.opcmethod <> (SELECT m.oid FROM pg_am m WHERE m.amname = 'btree') OR o.opcname IN ('record_image_ops')) \
    ORDER BY x.indrelid, x.indisprimary DESC, x.indnkeyatts, x.indkey::int2[]";

const INDEXED: &str = "SELECT x.indrelid::int8, x.indkey[0]::int2 FROM pg_index x \
    WHERE x.indisvalid AND x.indkey[0] > 0 AND x.indpred IS NULL";

/// Those that compare by equality alone. Of a partitioned table each once.
const FOREIGN_KEYS: &str = "SELECT k.conrelid::int8, k.confrelid::int8, k.conkey, k.confkey, k.confdeltype::text, k.confupdtype::text, k.convalidated AND NOT k.condeferrable \
    FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 \
    AND NOT EXISTS (SELECT FROM unnest(k.conpfeqop) e(oid) JOIN pg_operator o ON o.oid = e.oid WHERE o.oprname <> '=') \
    ORDER BY k.conrelid, k.conkey, k.confrelid, k.confkey, k.confdeltype";

/// All of it. The transaction that it begins is the caller's to end.
pub(super) fn take(session: &mut Session) -> Result<Database, Failure> {
    let settings = session.pinned_locally();
    session.open(&format!("{BEGIN_READ_ONE_MOMENT} {settings} {BRIEF_LOCKS}"))?;
    let client = &mut session.client;
    let visible: BTreeSet<u32> =
        client.query_typed(VISIBLE, &[])?.iter().map(|row| oid(row, 0)).collect::<Result<_, _>>()?;
    let mut type_names = BTreeMap::new();
    for row in client.query_typed(TYPE_NAMES, &[])? {
        type_names.insert(oid(&row, 0)?, text(&row, 1)?);
    }
    let operators: BTreeSet<u32> =
        client.query_typed(VISIBLE_OPERATORS, &[])?.iter().map(|row| oid(row, 0)).collect::<Result<_, _>>()?;
    client.batch_execute(OWN_PATH)?;
    let mut relations = Vec::new();
    for row in client.query_typed(RELATIONS, &[])? {
        relations.push(relation(&row, &visible)?);
    }
    let places =
        relations.iter().enumerate().map(|(place, relation): (usize, &Relation)| (relation.oid, place)).collect();
    let mut reading = Reading { relations, places };
    reading.columns(client, &type_names, &visible, &operators)?;
    reading.keys(client)?;
    reading.reactions(client)?;
    Ok(Database { relations: reading.relations, time_zone: time_zone(client)?, ..Database::default() })
}

struct Reading {
    relations: Vec<Relation>,
    places: BTreeMap<u32, usize>,
}

impl Reading {
    fn of(&mut self, oid: u32) -> Option<&mut Relation> {
        self.places.get(&oid).map(|place| &mut self.relations[*place])
    }

    fn columns(
        &mut self,
        client: &mut Client,
        type_names: &BTreeMap<u32, Box<str>>,
        visible: &BTreeSet<u32>,
        operators: &BTreeSet<u32>,
    ) -> Result<(), Failure> {
        let mut types = BTreeMap::new();
        for row in client.query_typed(TYPES, &[])? {
            let ty = ty(&row, type_names, operators)?;
            types.insert(ty.oid, ty);
        }
        let mut sequences = BTreeMap::new();
        for row in client.query_typed(SEQUENCES, &[])? {
            let is_visible = visible.contains(&oid(&row, 2)?);
            let found =
                Sequence { schema: text(&row, 3)?, name: text(&row, 4)?, is_visible, may_draw: row.try_get(5)? };
            // Of several that a default names all have to be open.
            let all: &mut Sequence = sequences.entry((oid(&row, 0)?, row.try_get(1)?)).or_insert_with(|| found.clone());
            all.may_draw &= found.may_draw;
        }
        for row in client.query_typed(COLUMNS, &[])? {
            let relation = oid(&row, 0)?;
            let number: i16 = row.try_get(1)?;
            let Some(ty) = types.get(&oid(&row, 3)?) else { continue };
            let column = Column {
                number,
                name: text(&row, 2)?,
                ty: ty.clone(),
                not_null: row.try_get(4)?,
                default: row.try_get::<_, Option<String>>(5)?.map(Into::into),
                identity: match &*text(&row, 6)? {
                    "a" => Identity::Always,
                    "d" => Identity::ByDefault,
                    _ => Identity::None,
                },
                is_generated: row.try_get(7)?,
                sequence: sequences.remove(&(relation, number)),
                rights: Rights {
                    select: row.try_get(8)?,
                    insert: row.try_get(9)?,
                    update: row.try_get(10)?,
                    delete: false,
                },
            };
            if let Some(relation) = self.of(relation) {
                relation.columns.push(column);
            }
        }
        Ok(())
    }

    fn reactions(&mut self, client: &mut Client) -> Result<(), Failure> {
        let (mut triggers, mut rules) = reactions(client)?;
        let mut untold = untold(client, None)?;
        for relation in &mut self.relations {
            relation.triggers = triggers.remove(&relation.oid).unwrap_or_default();
            relation.rules = rules.remove(&relation.oid).unwrap_or_default();
            relation.untold = untold.remove(&relation.oid);
        }
        Ok(())
    }

    fn keys(&mut self, client: &mut Client) -> Result<(), Failure> {
        for row in client.query_typed(KEYS, &[])? {
            let columns = row.try_get::<_, Vec<i16>>(2)?.into();
            let key = Key { is_primary: row.try_get(1)?, is_plain: row.try_get(3)?, columns };
            if let Some(relation) = self.of(oid(&row, 0)?) {
                relation.keys.push(key);
            }
        }
        for row in client.query_typed(INDEXED, &[])? {
            let column = row.try_get(1)?;
            if let Some(relation) = self.of(oid(&row, 0)?) {
                relation.indexed.insert(column);
            }
        }
        for row in client.query_typed(FOREIGN_KEYS, &[])? {
            let key = ForeignKey {
                relation: oid(&row, 1)?,
                columns: row.try_get::<_, Vec<i16>>(2)?.into(),
                referenced: row.try_get::<_, Vec<i16>>(3)?.into(),
                on_delete: follows(&text(&row, 4)?),
                on_update: follows(&text(&row, 5)?),
                holds: row.try_get(6)?,
            };
            if let Some(relation) = self.of(oid(&row, 0)?) {
                relation.foreign_keys.push(key);
            }
        }
        Ok(())
    }
}

fn oid(row: &Row, column: usize) -> Result<u32, Failure> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

fn text(row: &Row, column: usize) -> Result<Box<str>, Failure> {
    Ok(row.try_get::<_, String>(column)?.into())
}

fn follows(letter: &str) -> Follows {
    match letter {
        "c" => Follows::Cascade,
        "n" | "d" => Follows::Set,
        _ => Follows::Nothing,
    }
}

fn sort(letter: &str) -> Sort {
    match letter {
        "e" => Sort::Enum,
        "r" | "m" => Sort::Range,
        "c" => Sort::Composite,
        "p" => Sort::Pseudo,
        _ => Sort::Base,
    }
}

fn ty(row: &Row, names: &BTreeMap<u32, Box<str>>, operators: &BTreeSet<u32>) -> Result<Type, Failure> {
    let own = oid(row, 0)?;
    let element = row.try_get::<_, Option<i64>>(3)?.and_then(|oid| u32::try_from(oid).ok());
    let element_sort: Option<String> = row.try_get(4)?;
    let operator = row.try_get::<_, Option<i64>>(6)?.and_then(|oid| u32::try_from(oid).ok());
    let equality = match operator.is_none_or(|operator| operators.contains(&operator)) {
        true => "=".into(),
        false => format!("OPERATOR({})", text(row, 7)?).into(),
    };
    Ok(Type {
        oid: own,
        base: oid(row, 1)?,
        sort: sort(&text(row, 2)?),
        element: element.zip(element_sort.as_deref().map(sort)),
        sql: names.get(&own).cloned().unwrap_or_default(),
        refuses_null: row.try_get(5)?,
        equality,
        is_open: row.try_get(8)?,
    })
}

fn relation(row: &Row, visible: &BTreeSet<u32>) -> Result<Relation, Failure> {
    let own = oid(row, 0)?;
    let kind = match (&*text(row, 3)?, &*text(row, 4)?) {
        ("v", _) => Kind::View,
        ("m", _) => Kind::MaterializedView,
        ("f", _) => Kind::Foreign,
        (_, "u") => Kind::Unlogged,
        _ => Kind::Table,
    };
    Ok(Relation {
        oid: own,
        schema: text(row, 1)?,
        name: text(row, 2)?,
        kind,
        is_visible: visible.contains(&own),
        comment: row.try_get::<_, Option<String>>(5)?.map(Into::into),
        rights: Rights {
            select: row.try_get(11)?,
            insert: row.try_get(12)?,
            update: row.try_get(13)?,
            delete: row.try_get(14)?,
        },
        has_schema_usage: row.try_get(10)?,
        is_partition: row.try_get(6)?,
        has_children: row.try_get(7)?,
        is_secured: row.try_get(8)?,
        extension: row.try_get::<_, Option<String>>(9)?.map(Into::into),
        columns: Vec::new(),
        keys: Vec::new(),
        foreign_keys: Vec::new(),
        indexed: BTreeSet::new(),
        triggers: Vec::new(),
        rules: Vec::new(),
        untold: None,
    })
}
