//! Trees of statements and the facts that derivation needs, asked of the tests' own Postgres.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::core::derive::facts::{
    Column, Comparison, Facts, Function, FunctionKind, Identity, Operator, Relation, RelationKind, Volatility, FAMILIES,
};
use crate::core::derive::tree::{self, Node};
use crate::core::derive::{derive, Derived};

pub(super) struct Asker {
    client: ::postgres::Client,
    trees: Arc<Mutex<Vec<String>>>,
    facts: Facts,
}

impl Asker {
    pub fn new(url: &str) -> Asker {
        let trees = Arc::new(Mutex::new(Vec::new()));
        let kept = trees.clone();
        let mut config: ::postgres::Config = url.parse().unwrap();
        config.notice_callback(move |notice| {
            if notice.message() == "rewritten parse tree:" {
                kept.lock().unwrap().extend(notice.detail().map(str::to_owned));
            }
        });
        let mut client = config.connect(::postgres::NoTls).unwrap();
        let facts = facts(&mut client);
        Asker { client, trees, facts }
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn set_role(&mut self, role: &str) {
        self.client.batch_execute(&format!("SET ROLE {role}")).unwrap();
    }

    /// The tree of a SELECT.
    pub fn tree(&mut self, sql: &str) -> Node {
        tree::read(&self.tree_text(sql)).unwrap().remove(0)
    }

    pub fn tree_text(&mut self, sql: &str) -> String {
        let settings = "BEGIN; SET LOCAL debug_print_rewritten = on; SET LOCAL client_min_messages = log;
            SET LOCAL debug_pretty_print = off";
        self.client.batch_execute(settings).unwrap();
        self.trees.lock().unwrap().clear();
        let prepared = self.client.prepare(sql);
        let trees = std::mem::take(&mut *self.trees.lock().unwrap());
        self.client.batch_execute("ROLLBACK").unwrap();
        prepared.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        // The driver asks for types that it does not know, behind ours.
        let is_select = |text: &String| tree::read(text).unwrap()[0].text("commandType") == "1";
        trees.into_iter().find(is_select).expect("the statement's tree")
    }

    pub fn derive(&mut self, sql: &str) -> Derived {
        let tree = self.tree(sql);
        derive(&tree, &self.facts)
    }
}

fn facts(client: &mut ::postgres::Client) -> Facts {
    let mut facts = Facts::default();
    let mut rows = |sql: &str| client.query(sql, &[]).unwrap();
    for row in rows("SELECT oid, relname::text, relkind::text, relnamespace::regnamespace::text, relpersistence = 'p' FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'f', 'p')") {
        let (kind, schema): (String, String) = (row.get(2), row.get(3));
        let kind = match (&*schema, &*kind) {
            ("pg_catalog" | "information_schema", _) => RelationKind::System,
            (_, "v") => RelationKind::View,
            (_, "m") => RelationKind::MaterializedView,
            (_, "f") => RelationKind::Foreign,
            _ if !row.get::<_, bool>(4) => RelationKind::Unfollowed,
            _ => RelationKind::Table,
        };
        let relation = Relation {
            schema: schema.into(),
            name: row.get::<_, String>(1).into(),
            kind,
            root: None,
            columns: BTreeMap::new(),
            primary_key: None,
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            identity: Identity::Full,
        };
        facts.relations.insert(row.get(0), relation);
    }
    for row in rows(
        "SELECT attrelid, attnum, attname::text, atttypid, attnotnull, attgenerated <> '' FROM pg_attribute
        WHERE attnum > 0 AND NOT attisdropped",
    ) {
        let Some(relation) = facts.relations.get_mut(&row.get(0)) else { continue };
        // The one generated column there is is computed from the third.
        let base: &[i16] = if row.get(5) { &[3] } else { &[] };
        let column = Column {
            name: row.get::<_, String>(2).into(),
            type_oid: row.get(3),
            not_null: row.get(4),
            base: base.into(),
        };
        relation.columns.insert(row.get(1), column);
    }
    for row in rows(
        "SELECT indrelid, indisprimary, indkey::int2[] FROM pg_index WHERE indisunique AND indpred IS NULL
        AND indexprs IS NULL AND indisvalid AND indimmediate",
    ) {
        let Some(relation) = facts.relations.get_mut(&row.get(0)) else { continue };
        let key: Box<[i16]> = row.get::<_, Vec<i16>>(2).into();
        if row.get(1) {
            relation.primary_key = Some(key.clone());
        }
        relation.unique.push(key);
    }
    for row in rows(
        "SELECT amopopr, amopstrategy, opfname::text, oprnegate FROM pg_amop JOIN pg_opfamily f ON f.oid = amopfamily
        JOIN pg_operator o ON o.oid = amopopr JOIN pg_am m ON m.oid = opfmethod
        WHERE amname = 'btree' AND amoppurpose = 's' AND opfnamespace = 'pg_catalog'::regnamespace",
    ) {
        let name: String = row.get(2);
        let Some((_, family)) = FAMILIES.iter().find(|(family, _)| *family == name) else { continue };
        let comparison = match row.get::<_, i16>(1) {
            1 => Comparison::Less,
            2 => Comparison::LessOrEqual,
            3 => Comparison::Equal,
            4 => Comparison::GreaterOrEqual,
            _ => Comparison::Greater,
        };
        facts.operators.insert(row.get(0), Operator { comparison, family: *family });
        let negated: u32 = row.get(3);
        if comparison == Comparison::Equal && negated != 0 {
            facts.operators.insert(negated, Operator { comparison: Comparison::NotEqual, family: *family });
        }
    }
    for row in rows(
        "SELECT p.oid, proname::text, pronamespace::regnamespace::text, provolatile::text, lanname::text, proisstrict,
        prokind::text FROM pg_proc p JOIN pg_language l ON l.oid = prolang",
    ) {
        let function = Function {
            name: row.get::<_, String>(1).into(),
            schema: row.get::<_, String>(2).into(),
            volatility: match &*row.get::<_, String>(3) {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            language: row.get::<_, String>(4).into(),
            strict: row.get(5),
            kind: match &*row.get::<_, String>(6) {
                "a" => FunctionKind::Aggregate,
                "w" => FunctionKind::Window,
                "p" => FunctionKind::Procedure,
                _ => FunctionKind::Plain,
            },
        };
        facts.functions.insert(row.get(0), function);
    }
    for row in rows("SELECT oid, collisdeterministic FROM pg_collation") {
        facts.collations.insert(row.get(0), row.get(1));
    }
    facts
}
