//! What the copy's tables demand of rows: columns, types, keys and constraints, as Postgres' catalogs have them.

use std::collections::{BTreeMap, BTreeSet};

use postgres::Client;

use super::sql::{quote_name, rows, Value};

/// Rows of a table that are read.
pub const MOST_ROWS: usize = 300;

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: u32,
    /// As CREATE TABLE would say it: `character varying(20)`.
    pub declared: String,
    pub is_required: bool,
    pub has_default: bool,
    /// Postgres computes it: nobody may write it.
    pub is_generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub is_always_identity: bool,
}

#[derive(Debug, Clone)]
pub struct Foreign {
    pub columns: Vec<usize>,
    /// The place of the table.
    pub target: usize,
    pub target_columns: Vec<usize>,
    /// Do rows follow the one that they refer to: by CASCADE, or by SET?
    pub follows: bool,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
    /// Columns of the primary key, or of another key of columns that are NOT NULL.
    pub key: Vec<usize>,
    pub has_primary_key: bool,
    /// REPLICA IDENTITY FULL: the stream of changes has old rows whole.
    pub tells_old_rows: bool,
    /// Names and columns of unique indexes.
    pub unique: Vec<(String, Vec<usize>)>,
    pub foreign: Vec<Foreign>,
    /// Names and texts of CHECK constraints, with the conditions and bounds of partitions.
    pub checks: Vec<(String, String)>,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// By its name.
    Base(String),
    Enum(Vec<String>),
    /// The type below, and its CHECKs.
    Domain(u32, Vec<String>),
    Array(u32),
    Range(u32),
    Multirange(u32),
    Row(Vec<u32>),
}

#[derive(Debug, Default)]
pub struct Facts {
    pub tables: Vec<Table>,
    pub shapes: BTreeMap<u32, Shape>,
    /// Texts of views and bodies of functions, by their names.
    pub bodies: BTreeMap<String, Vec<String>>,
}

/// Schemas that are not the user's.
const OURS: &str = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'bear')
    AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'";

const NO_EXTENSION: &str = "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid
    AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')";

impl Facts {
    /// These tables, and all whose changes may change rows of them, by foreign keys with an action.
    pub fn reaching(&self, tables: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut found = tables.clone();
        let mut open: Vec<usize> = tables.iter().copied().collect();
        while let Some(place) = open.pop() {
            let targets = self.tables[place].foreign.iter().filter(|key| key.follows).map(|key| key.target);
            open.extend(targets.filter(|target| found.insert(*target)));
        }
        found
    }

    pub fn read(client: &mut Client) -> Result<Facts, postgres::Error> {
        let mut facts = Facts::default();
        let places = facts.read_tables(client)?;
        facts.read_constraints(client, &places)?;
        facts.read_types(client)?;
        facts.read_bodies(client)?;
        Ok(facts)
    }

    /// Their places by oid, and those of columns by oid and number.
    fn read_tables(&mut self, client: &mut Client) -> Result<Places, postgres::Error> {
        let mut places = Places::default();
        // A partition is written to by the table that it is of.
        let tables = format!(
            "SELECT c.oid, n.nspname, c.relname, c.relreplident = 'f' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname {OURS} AND {NO_EXTENSION} ORDER BY 2, 3"
        );
        for row in rows(client, &tables)? {
            places.tables.insert(number(&row[0]), self.tables.len());
            self.tables.push(Table {
                schema: text(&row[1]),
                name: text(&row[2]),
                columns: Vec::new(),
                key: Vec::new(),
                has_primary_key: false,
                tells_old_rows: is(&row[3]),
                unique: Vec::new(),
                foreign: Vec::new(),
                checks: Vec::new(),
            });
        }
        let columns = "SELECT attrelid, attnum, attname, atttypid, format_type(atttypid, atttypmod), attnotnull, atthasdef,
            attgenerated <> '', attidentity = 'a' FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped ORDER BY 1, 2";
        for row in rows(client, columns)? {
            let oid = number(&row[0]);
            let Some(place) = places.tables.get(&oid) else { continue };
            let table = &mut self.tables[*place];
            places.columns.insert((oid, text(&row[1])), table.columns.len());
            table.columns.push(Column {
                name: text(&row[2]),
                kind: number(&row[3]),
                declared: text(&row[4]),
                is_required: is(&row[5]),
                has_default: is(&row[6]),
                is_generated: is(&row[7]),
                is_always_identity: is(&row[8]),
            });
        }
        Ok(places)
    }

    fn read_constraints(&mut self, client: &mut Client, places: &Places) -> Result<(), postgres::Error> {
        let indexes = "SELECT i.indrelid, c.relname, i.indisprimary, i.indkey, i.indpred IS NULL FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique AND i.indexprs IS NULL AND i.indislive ORDER BY i.indisprimary DESC, 2";
        for row in rows(client, indexes)? {
            let oid = number(&row[0]);
            let Some(place) = places.tables.get(&oid) else { continue };
            let table = &mut self.tables[*place];
            let columns = places.of(oid, &text(&row[3]));
            table.has_primary_key |= is(&row[2]);
            let is_key = is(&row[4]) && columns.iter().all(|at| table.columns[*at].is_required);
            if table.key.is_empty() && is_key {
                table.key.clone_from(&columns);
            }
            table.unique.push((text(&row[1]), columns));
        }
        let constraints = "SELECT conrelid, conname, contype, array_to_string(conkey, ' '), confrelid, array_to_string(confkey, ' '),
            pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('f', 'c') AND conparentid = 0 ORDER BY conrelid, conname";
        for row in rows(client, constraints)? {
            let oid = number(&row[0]);
            let Some(place) = places.tables.get(&oid) else { continue };
            if text(&row[2]) == "c" {
                self.tables[*place].checks.push((text(&row[1]), text(&row[6])));
                continue;
            }
            let target_oid = number(&row[4]);
            let Some(target) = places.tables.get(&target_oid) else { continue };
            let (columns, target_columns) = (places.of(oid, &text(&row[3])), places.of(target_oid, &text(&row[5])));
            let definition = text(&row[6]);
            let follows = [" CASCADE", " SET NULL", " SET DEFAULT"].iter().any(|action| definition.contains(action));
            self.tables[*place].foreign.push(Foreign { columns, target: *target, target_columns, follows });
        }
        let bounds = "WITH RECURSIVE p AS (SELECT inhparent AS root, inhrelid FROM pg_inherits
                UNION SELECT p.root, i.inhrelid FROM p JOIN pg_inherits i ON i.inhparent = p.inhrelid)
            SELECT root, pg_get_partkeydef(root) || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM p JOIN pg_class c ON c.oid = p.inhrelid
            WHERE c.relispartition ORDER BY 1, 2";
        for row in rows(client, bounds)? {
            if let (Some(place), Some(bound)) = (places.tables.get(&number(&row[0])), &row[1]) {
                self.tables[*place].checks.push((String::new(), bound.clone()));
            }
        }
        Ok(())
    }

    fn read_types(&mut self, client: &mut Client) -> Result<(), postgres::Error> {
        let mut enums: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for row in rows(client, "SELECT enumtypid, enumlabel FROM pg_enum ORDER BY 1, enumsortorder")? {
            enums.entry(number(&row[0])).or_default().push(text(&row[1]));
        }
        let mut checks: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let of_domains = "SELECT contypid, pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid <> 0 AND contype = 'c' ORDER BY oid";
        for row in rows(client, of_domains)? {
            checks.entry(number(&row[0])).or_default().push(text(&row[1]));
        }
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let of_rows =
            "SELECT t.oid, a.atttypid FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum";
        for row in rows(client, of_rows)? {
            members.entry(number(&row[0])).or_default().push(number(&row[1]));
        }
        let multirange = match rows(
            client,
            "SELECT FROM pg_attribute WHERE attrelid = 'pg_range'::regclass AND attname = 'rngmultitypid'",
        )? {
            known if known.is_empty() => "0",
            _ => "(SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid)",
        };
        let types = format!(
            "SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typelem, t.typcategory = 'A' AND t.typlen = -1,
            coalesce((SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid), 0), coalesce({multirange}, 0) FROM pg_type t"
        );
        for row in rows(client, &types)? {
            let oid = number(&row[0]);
            let shape = match &*text(&row[2]) {
                "e" => Shape::Enum(enums.remove(&oid).unwrap_or_default()),
                "d" => Shape::Domain(number(&row[3]), checks.remove(&oid).unwrap_or_default()),
                "r" => Shape::Range(number(&row[6])),
                "m" => Shape::Multirange(number(&row[7])),
                "c" => Shape::Row(members.remove(&oid).unwrap_or_default()),
                _ if is(&row[5]) && number(&row[4]) != 0 => Shape::Array(number(&row[4])),
                _ => Shape::Base(text(&row[1])),
            };
            self.shapes.insert(oid, shape);
        }
        Ok(())
    }

    fn read_bodies(&mut self, client: &mut Client) -> Result<(), postgres::Error> {
        let bodies = format!(
            "SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('v', 'm') AND n.nspname {OURS} UNION ALL
            SELECT p.proname, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname {OURS}"
        );
        for row in rows(client, &bodies)? {
            self.bodies.entry(text(&row[0])).or_default().push(text(&row[1]));
        }
        Ok(())
    }

    /// The type below domains.
    pub fn base(&self, kind: u32) -> &Shape {
        const UNKNOWN: &Shape = &Shape::Row(Vec::new());
        match self.shapes.get(&kind) {
            Some(Shape::Domain(below, _)) => self.base(*below),
            Some(shape) => shape,
            None => UNKNOWN,
        }
    }
}

#[derive(Default)]
struct Places {
    tables: BTreeMap<u32, usize>,
    columns: BTreeMap<(u32, String), usize>,
}

impl Places {
    /// Of numbers with blanks between.
    fn of(&self, oid: u32, numbers: &str) -> Vec<usize> {
        numbers.split(' ').filter_map(|number| self.columns.get(&(oid, number.to_owned())).copied()).collect()
    }
}

impl Table {
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_name(&self.schema), quote_name(&self.name))
    }

    /// As a message names it.
    pub fn plain(&self) -> String {
        match &*self.schema {
            "public" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }

    pub fn insert(&self, row: &[(usize, Value)]) -> String {
        let names: Vec<String> = row.iter().map(|(at, _)| quote_name(&self.columns[*at].name)).collect();
        let values: Vec<String> = row.iter().map(|(_, value)| super::sql::literal(value)).collect();
        let overriding = match row.iter().any(|(at, _)| self.columns[*at].is_always_identity) {
            true => " OVERRIDING SYSTEM VALUE",
            false => "",
        };
        match names.is_empty() {
            true => format!("INSERT INTO {} DEFAULT VALUES", self.quoted()),
            false => format!(
                "INSERT INTO {} ({}){overriding} VALUES ({})",
                self.quoted(),
                names.join(", "),
                values.join(", ")
            ),
        }
    }

    /// What finds the row again: by its key, or where it has none by all that it shows.
    pub fn condition(&self, row: &[Value]) -> String {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let of = if self.key.is_empty() { &all } else { &self.key };
        let term = |at: &usize| {
            let name = quote_name(&self.columns[*at].name);
            match &row[*at] {
                None => format!("{name} IS NULL"),
                Some(text) if self.key.is_empty() => format!("{name}::text = {}", super::sql::quote(text)),
                Some(text) => format!("{name} = {}", super::sql::quote(text)),
            }
        };
        of.iter().map(term).collect::<Vec<_>>().join(" AND ")
    }

    /// Its rows, each column as text, in an order that a seed repeats.
    pub fn read(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("{}::text", quote_name(&column.name))).collect();
        let order: Vec<String> = self.key.iter().map(|at| format!("{}", at + 1)).collect();
        let order =
            if order.is_empty() { (1..=columns.len().min(8)).map(|at| at.to_string()).collect() } else { order };
        match columns.is_empty() {
            true => format!("SELECT FROM {} WHERE false", self.quoted()),
            false => {
                let (columns, order) = (columns.join(", "), order.join(", "));
                format!("SELECT {columns} FROM {} ORDER BY {order} LIMIT {MOST_ROWS}", self.quoted())
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.clone().unwrap_or_default()
}

fn number(value: &Value) -> u32 {
    value.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn is(value: &Value) -> bool {
    value.as_deref() == Some("t")
}
