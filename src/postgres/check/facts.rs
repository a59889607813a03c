//! What Postgres knows of all that trees name: a query for each kind, for any number of statements at once.
//!
//! Every name in them is one of `pg_catalog`: the transaction's path leads nowhere else from here on.

use std::collections::BTreeSet;

use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::Row;

use crate::core::derive::facts::{
    Column, Comparison, Facts, ForeignKey, Function, FunctionKind, Identity, Operator, Relation, RelationKind,
    Volatility, FAMILIES,
};
use crate::core::derive::tree::Oids;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pinned::OWN_PATH;

/// Those named, and of partitions the topmost parents. With the columns of the index that tells of old rows, and whether
/// there are children that inherit: rows of theirs are read along, and no index of the parent holds them.
const RELATIONS: &str = "WITH named AS (SELECT u.oid::oid FROM unnest($1::int8[]) u(oid)), \
    meant AS (SELECT n.oid FROM named n UNION SELECT pg_partition_root(c.oid::regclass)::oid FROM named n \
        JOIN pg_class c ON c.oid = n.oid WHERE c.relispartition) \
    SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relreplident::text, \
        CASE WHEN c.relispartition THEN pg_partition_root(c.oid::regclass)::oid::int8 END, \
        EXISTS (SELECT FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND NOT k.relispartition), \
        (SELECT (x.indkey::int2[])[0:x.indnkeyatts - 1] FROM pg_index x \
            WHERE x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i' LIMIT 1) \
    FROM meant JOIN pg_class c ON c.oid = meant.oid JOIN pg_namespace n ON n.oid = c.relnamespace";

/// Of a domain, with the type that it is made of in the end: its values are compared as those of that. With what a generated one is computed from: noted of the column itself before Postgres 15, and of its expression since.
/// A NOT NULL that nobody has validated (18) says nothing of the rows that are there.
const COLUMNS: &str = "SELECT a.attrelid::int8, a.attnum, a.attname::text, \
        CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE based(oid) AS (SELECT t.typbasetype UNION ALL \
            SELECT y.typbasetype FROM based b JOIN pg_type y ON y.oid = b.oid AND y.typtype = 'd') \
            SELECT b.oid FROM based b JOIN pg_type y ON y.oid = b.oid AND y.typtype <> 'd') ELSE a.atttypid END::int8, \
        a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' \
            AND NOT k.convalidated AND a.attnum = ANY (k.conkey)), \
        ARRAY(SELECT DISTINCT d.refobjsubid::int2 FROM pg_depend d \
            WHERE a.attgenerated <> '' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid \
            AND d.refobjsubid > 0 AND d.refobjsubid <> a.attnum \
            AND (d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum \
                OR d.classid = 'pg_attrdef'::regclass \
                AND d.objid = (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))) \
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
    WHERE a.attrelid = ANY ($1::int8[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped";

/// Whose columns say which row it is: of all rows, at any time, and by the equality that everybody means.
const KEYS: &str = "SELECT x.indrelid::int8, x.indisprimary, (x.indkey::int2[])[0:x.indnkeyatts - 1] FROM pg_index x \
    WHERE x.indrelid = ANY ($1::int8[]::oid[]) AND x.indisunique AND x.indisvalid AND x.indimmediate \
    AND x.indpred IS NULL AND x.indexprs IS NULL \
    AND NOT EXISTS (SELECT FROM unnest(x.indclass::oid[]) used(oid) JOIN pg_opclass o ON o.oid = used.oid \
        WHERE o.opcmethod <> (SELECT m.oid FROM pg_am m WHERE m.amname = 'btree') \
        OR o.opcnamespace <> 'pg_catalog'::regnamespace OR o.opcname IN ('record_image_ops'))";

/// Those that compare by equality alone, which a PERIOD does not.
const FOREIGN_KEYS: &str =
    "SELECT k.conrelid::int8, k.confrelid::int8, k.conkey, k.confkey, k.convalidated AND NOT k.condeferrable \
    FROM pg_constraint k WHERE k.conrelid = ANY ($1::int8[]::oid[]) AND k.contype = 'f' \
    AND NOT EXISTS (SELECT FROM unnest(k.conpfeqop) e(oid) JOIN pg_operator o ON o.oid = e.oid WHERE o.oprname <> '=') \
    ORDER BY k.conrelid, k.oid";

/// Those of families of a name, and what negates their equality, as 0. Each name is that of a btree family of Postgres' own.
const OPERATORS: &str =
    "WITH computed AS (SELECT a.amopopr AS oid, f.opfname::text AS family, a.amopstrategy::int4 AS strategy \
        FROM pg_amop a JOIN pg_opfamily f ON f.oid = a.amopfamily JOIN pg_am m ON m.oid = f.opfmethod \
        WHERE m.amname = 'btree' AND a.amoppurpose = 's' AND f.opfnamespace = 'pg_catalog'::regnamespace \
        AND f.opfname = ANY ($2::text[])) \
    SELECT c.oid::int8, c.family, c.strategy FROM computed c WHERE c.oid = ANY ($1::int8[]::oid[]) \
    UNION ALL SELECT o.oprnegate::int8, c.family, 0 FROM computed c JOIN pg_operator o ON o.oid = c.oid \
    WHERE c.strategy = 3 AND o.oprnegate = ANY ($1::int8[]::oid[])";

/// An aggregate is as volatile as the worst of the functions that it is made of, and in the language of one of them that
/// is neither built in nor in C.
const FUNCTIONS: &str = "SELECT p.oid::int8, n.nspname::text, p.proname::text, p.provolatile::text, l.lanname::text, p.proisstrict, \
        p.prokind::text, \
        coalesce((SELECT min(CASE s.provolatile WHEN 'v' THEN 0 WHEN 's' THEN 1 ELSE 2 END) FROM unnest(part.oids) u(oid) \
            JOIN pg_proc s ON s.oid = u.oid), 2), \
        (SELECT min(m.lanname::text) FROM unnest(part.oids) u(oid) JOIN pg_proc s ON s.oid = u.oid \
            JOIN pg_language m ON m.oid = s.prolang WHERE m.lanname NOT IN ('internal', 'c')) \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
    LEFT JOIN pg_aggregate g ON g.aggfnoid::oid = p.oid \
    LEFT JOIN LATERAL (SELECT ARRAY[g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, \
        g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn]::oid[] WHERE g.aggfnoid IS NOT NULL) part(oids) ON true \
    WHERE p.oid = ANY ($1::int8[]::oid[])";

const COLLATIONS: &str =
    "SELECT l.oid::int8, l.collisdeterministic FROM pg_collation l WHERE l.oid = ANY ($1::int8[]::oid[])";

/// Of everything named; what is gone meanwhile is left out. To be asked within a transaction, whose names mean what is in
/// `pg_catalog` from here to its end.
pub(in crate::postgres) fn of_oids(client: &mut Client, oids: &Oids) -> Result<Facts, Failure> {
    client.batch_execute(OWN_PATH)?;
    let mut facts = Facts::default();
    read_relations(client, &oids.relations, &mut facts)?;
    let families: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let operators = [(&as_array(&oids.operators) as _, Type::INT8_ARRAY), (&families as _, Type::TEXT_ARRAY)];
    for row in client.query_typed(OPERATORS, &operators)? {
        facts.operators.extend(operator(&row)?);
    }
    for row in ask(client, FUNCTIONS, &oids.functions)? {
        facts.functions.insert(oid(&row, 0)?, function(&row)?);
    }
    for row in ask(client, COLLATIONS, &oids.collations)? {
        facts.collations.insert(oid(&row, 0)?, row.try_get(1)?);
    }
    Ok(facts)
}

fn read_relations(client: &mut Client, named: &BTreeSet<u32>, facts: &mut Facts) -> Result<(), Failure> {
    let mut inherited = BTreeSet::new();
    for row in ask(client, RELATIONS, named)? {
        let oid = oid(&row, 0)?;
        if row.try_get(7)? {
            inherited.insert(oid);
        }
        facts.relations.insert(oid, relation(&row)?);
    }
    let all: BTreeSet<u32> = facts.relations.keys().copied().collect();
    for row in ask(client, COLUMNS, &all)? {
        let Some(relation) = facts.relations.get_mut(&oid(&row, 0)?) else { continue };
        let type_oid = oid(&row, 3)?;
        let column = Column { name: text(&row, 2)?, type_oid, not_null: row.try_get(4)?, base: list(&row, 5)? };
        relation.columns.insert(row.try_get(1)?, column);
    }
    // A key of the parent holds rows of the parent alone.
    let alone: BTreeSet<u32> = all.difference(&inherited).copied().collect();
    for row in ask(client, KEYS, &alone)? {
        let Some(relation) = facts.relations.get_mut(&oid(&row, 0)?) else { continue };
        let columns: Box<[i16]> = list(&row, 2)?;
        if row.try_get(1)? {
            relation.primary_key = Some(columns.clone());
        }
        relation.unique.push(columns);
    }
    for row in ask(client, FOREIGN_KEYS, &alone)? {
        let Some(relation) = facts.relations.get_mut(&oid(&row, 0)?) else { continue };
        let (columns, referenced) = (list(&row, 2)?, list(&row, 3)?);
        relation.foreign_keys.push(ForeignKey { columns, relation: oid(&row, 1)?, referenced, holds: row.try_get(4)? });
    }
    Ok(())
}

fn ask(client: &mut Client, query: &str, oids: &BTreeSet<u32>) -> Result<Vec<Row>, Failure> {
    match oids.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(client.query_typed(query, &[(&as_array(oids), Type::INT8_ARRAY)])?),
    }
}

fn as_array(oids: &BTreeSet<u32>) -> Vec<i64> {
    oids.iter().copied().map(i64::from).collect()
}

fn oid(row: &Row, column: usize) -> Result<u32, Failure> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

fn text(row: &Row, column: usize) -> Result<Box<str>, Failure> {
    Ok(row.try_get::<_, String>(column)?.into())
}

fn list<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<Box<[T]>, Failure> {
    Ok(row.try_get::<_, Vec<T>>(column)?.into())
}

fn relation(row: &Row) -> Result<Relation, Failure> {
    let (schema, kind, persistence) = (text(row, 1)?, text(row, 3)?, text(row, 4)?);
    let kind = match (&*schema, &*kind, &*persistence) {
        ("pg_catalog" | "information_schema" | "pg_toast", ..) => RelationKind::System,
        (_, "v", _) => RelationKind::View,
        (_, "m", _) => RelationKind::MaterializedView,
        (_, "f", _) => RelationKind::Foreign,
        (_, "r", "p") => RelationKind::Table,
        (_, "p", "p") => RelationKind::Partitioned,
        _ => RelationKind::Unfollowed,
    };
    let identity = match (&*text(row, 5)?, row.try_get::<_, Option<Vec<i16>>>(8)?) {
        ("d", _) => Identity::Default,
        ("f", _) => Identity::Full,
        ("i", Some(columns)) => Identity::Index(columns.into()),
        _ => Identity::Nothing,
    };
    Ok(Relation {
        schema,
        name: text(row, 2)?,
        kind,
        root: row.try_get::<_, Option<i64>>(6)?.and_then(|root| u32::try_from(root).ok()),
        columns: Default::default(),
        primary_key: None,
        unique: Vec::new(),
        foreign_keys: Vec::new(),
        identity,
    })
}

/// None of one whose order is not computed.
fn operator(row: &Row) -> Result<Option<(u32, Operator)>, Failure> {
    let name = text(row, 1)?;
    let comparison = match row.try_get(2)? {
        0 => Comparison::NotEqual,
        1 => Comparison::Less,
        2 => Comparison::LessOrEqual,
        3 => Comparison::Equal,
        4 => Comparison::GreaterOrEqual,
        5 => Comparison::Greater,
        _ => return Ok(None),
    };
    let Some((_, family)) = FAMILIES.into_iter().find(|(known, _)| *known == &*name) else { return Ok(None) };
    let is_computed = family.has_order() || matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    Ok(is_computed.then_some((oid(row, 0)?, Operator { comparison, family })))
}

fn function(row: &Row) -> Result<Function, Failure> {
    let own = match &*text(row, 3)? {
        "i" => 2,
        "s" => 1,
        _ => 0,
    };
    let volatility = match own.min(row.try_get::<_, i32>(7)?) {
        2 => Volatility::Immutable,
        1 => Volatility::Stable,
        _ => Volatility::Volatile,
    };
    let kind = match &*text(row, 6)? {
        "a" => FunctionKind::Aggregate,
        "w" => FunctionKind::Window,
        "p" => FunctionKind::Procedure,
        _ => FunctionKind::Plain,
    };
    let language = match row.try_get::<_, Option<String>>(8)? {
        Some(of_a_part) => of_a_part.into(),
        None => text(row, 4)?,
    };
    Ok(Function { schema: text(row, 1)?, name: text(row, 2)?, volatility, language, strict: row.try_get(5)?, kind })
}
