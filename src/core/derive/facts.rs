//! What must be known of the database beside a statement's tree: relations, operators, functions and collations, by oid.
//!
//! Whoever asks Postgres gives what [`super::tree::Node::oids`] names. What is left out makes a rule coarse, or refuses
//! the statement; it never makes a rule narrower.

use std::collections::BTreeMap;

use super::tree::Node;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Those that the tree names, and of a partition its topmost parent.
    pub relations: BTreeMap<u32, Relation>,
    /// Those of [`FAMILIES`]' default btree families, and the `<>` that negates each `=`: what is compared as Postgres does.
    pub operators: BTreeMap<u32, Operator>,
    /// Those that the tree names: functions, aggregates, and the functions behind operators and casts.
    pub functions: BTreeMap<u32, Function>,
    /// Whether equal under it means equal bytes (`pg_collation.collisdeterministic`). The database's default (100), `C` (950)
    /// and `POSIX` (951) need not be told: they are deterministic.
    pub collations: BTreeMap<u32, bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub kind: RelationKind,
    /// Of a partition or a child: the topmost parent.
    pub root: Option<u32>,
    /// By attribute number; dropped columns are left out.
    pub columns: BTreeMap<i16, Column>,
    pub primary_key: Option<Box<[i16]>>,
    /// Whole, valid and immediate unique indexes of plain columns, without predicates; the primary key too. None of a
    /// table that others inherit from, other than partitions: it holds for its own rows alone.
    pub unique: Vec<Box<[i16]>>,
    pub foreign_keys: Vec<ForeignKey>,
    pub identity: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
    /// In `pg_catalog` or `information_schema`: no feed tells of it.
    System,
    /// A temporary or unlogged table, which is in no WAL; a sequence.
    Unfollowed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: Box<str>,
    /// Of a domain, the type that it is made of.
    pub type_oid: u32,
    pub not_null: bool,
    /// Of a generated column, the columns that it is computed from (`pg_depend`); empty for an ordinary one.
    pub base: Box<[i16]>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ForeignKey {
    pub columns: Box<[i16]>,
    pub relation: u32,
    /// As many as `columns`, in their order.
    pub referenced: Box<[i16]>,
    /// `convalidated`, enforced, and not deferrable: it holds in each snapshot.
    pub holds: bool,
}

/// What the feed says of the old row.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Identity {
    /// The primary key.
    #[default]
    Default,
    Full,
    Index(Box<[i16]>),
    Nothing,
}

/// Names of btree operator families of `pg_catalog` whose operators bear computes, and as what. Of text, enum and uuid
/// only `=` and `<>`: their order is a matter of the collation, of the type, and of nothing that a statement sorts by.
pub const FAMILIES: [(&str, Family); 9] = [
    ("integer_ops", Family::Number),
    ("numeric_ops", Family::Number),
    ("float_ops", Family::Float),
    ("text_ops", Family::Text),
    ("bpchar_ops", Family::Padded),
    ("bool_ops", Family::Bool),
    ("uuid_ops", Family::Uuid),
    ("datetime_ops", Family::Time),
    ("enum_ops", Family::Enum),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Integers and numeric: exact.
    Number,
    /// float4 and float8. Their texts are not exact, so that a comparison may be answered with "perhaps".
    Float,
    Text,
    /// `char(n)`: text without the blanks at its end.
    Padded,
    Bool,
    Uuid,
    /// date, timestamp and timestamptz, without zone taken as UTC.
    Time,
    Enum,
}

impl Family {
    /// Whether `<` and its kin are computed.
    pub fn has_order(self) -> bool {
        matches!(self, Family::Number | Family::Float | Family::Bool | Family::Time)
    }

    /// Whether values may be looked up by: equal values have equal canonical texts.
    pub fn is_exact(self) -> bool {
        self != Family::Float
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    pub comparison: Comparison,
    pub family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Facts {
    /// The operator of an expression, if bear computes it: its comparison and, of texts, the collation.
    pub(super) fn computed(&self, expression: &Node) -> Option<Operator> {
        self.computed_under(expression.number("opno")?, expression.number("inputcollid").unwrap_or(0))
    }

    pub(super) fn computed_under(&self, operator: u32, collation: u32) -> Option<Operator> {
        let operator = *self.operators.get(&operator)?;
        let is_plain = matches!(operator.comparison, Comparison::Equal | Comparison::NotEqual);
        let is_text = matches!(operator.family, Family::Text | Family::Padded);
        let is_computed = (is_plain || operator.family.has_order()) && (!is_text || self.is_deterministic(collation));
        is_computed.then_some(operator)
    }

    fn is_deterministic(&self, collation: u32) -> bool {
        [0, 100, 950, 951].contains(&collation) || self.collations.get(&collation) == Some(&true)
    }

    /// Whether an operator's result is null if one of its sides is.
    pub(super) fn is_strict(&self, expression: &Node) -> bool {
        let operator: u32 = expression.number("opno").unwrap_or(0);
        let function: u32 = expression.number("opfuncid").unwrap_or(0);
        self.operators.contains_key(&operator) || self.functions.get(&function).is_some_and(|function| function.strict)
    }

    /// Whether the values of `expression` that a SORTGROUPCLAUSE calls equal are equal in each condition that bear computes.
    pub(super) fn is_exact(&self, clause: &Node, expression: &Node) -> bool {
        let collation = match &*expression.kind {
            "RELABELTYPE" => expression.number("resultcollid"),
            "COLLATEEXPR" => expression.number("collOid"),
            _ => expression.number("varcollid"),
        };
        self.is_exact_under(clause.number("eqop").unwrap_or(0), collation.unwrap_or(0))
    }

    pub(super) fn is_exact_under(&self, operator: u32, collation: u32) -> bool {
        self.computed_under(operator, collation).is_some_and(|operator| operator.comparison == Comparison::Equal)
    }

    /// Whether the feed's image of the relation has the column: a generated one is in none.
    pub(super) fn is_in_image(&self, relation: u32, column: i16) -> bool {
        let column = self.relations.get(&relation).and_then(|relation| relation.columns.get(&column));
        column.is_none_or(|column| column.base.is_empty())
    }
}

impl Comparison {
    /// The same with its sides exchanged.
    pub fn commuted(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub volatility: Volatility,
    pub language: Box<str>,
    pub strict: bool,
    pub kind: FunctionKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    Plain,
    Aggregate,
    Window,
    Procedure,
}
