//! The statement with `{name}` for its parameters, each of a type that bear passes.

use super::columns::Naming;
use super::draft::{Draft, Edit, Use};
use super::names::{argument_names, call, ArgumentName};
use super::pieces::Pieces;
use super::Refused;
use crate::core::calls::pattern::CallPattern;
use crate::core::sql::spelling::as_needed;
use crate::core::values::value::{ArgType, ScalarType};

/// The type that Postgres has found for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterType {
    pub oid: u32,
    /// As a cast names it: `integer`, `shop."Status"[]`.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub call: String,
    pub sql: String,
    /// What its author may want to know.
    pub notes: Vec<String>,
}

/// How a parameter is passed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passed {
    ty: ArgType,
    fit: Fit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// As Postgres takes it.
    Same,
    /// As a wider type, which a comparison sees no difference to.
    Wider,
    /// As text.
    Text,
    /// As a floating-point number of more digits.
    Rounded,
}

impl Draft<'_> {
    /// The statement as Postgres is asked what it is: its parameters are `$1 … $n`.
    pub fn question(&self, naming: &Naming) -> String {
        self.named(naming, |more| self.probe(more))
    }

    /// What Postgres may be asked for, as SQL names it: the first that there is, is the relation that the rest is joined to.
    pub fn relations(&self) -> Vec<String> {
        self.relations.in_sql()
    }

    /// `said`: a call that somebody wants; `is_free`: is no other call of the section taken for it?
    pub fn propose(
        &self,
        types: &[ParameterType],
        naming: &Naming,
        said: Option<&str>,
        is_free: &dyn Fn(&CallPattern) -> bool,
    ) -> Result<Proposal, Refused> {
        let mut names = argument_names(self);
        let passed: Vec<Passed> = types
            .iter()
            .enumerate()
            .map(|(slot, ty)| self.passed(slot, ty).ok_or_else(|| no_type(&names[slot], ty)))
            .collect::<Result<_, _>>()?;
        let declared: Vec<ArgType> = passed.iter().map(|passed| passed.ty).collect();
        let mut is_argument = vec![true; self.slots.len()];
        let call = match said {
            Some(said) => {
                super::given::given(self, said, &mut names, &declared, &mut is_argument).map_err(Refused::Call)?
            }
            None => call(self, &names, &declared, is_free).map_err(Refused::Call)?,
        };
        let shown = |of: &Use| {
            let slot = of.slot();
            match self.slots[slot].default.filter(|_| !is_argument[slot]) {
                Some(default) => default.to_string(),
                None => format!("{{{}}}{}", names[slot].name, cast(of, &passed[slot], &types[slot])),
            }
        };
        let sql = broken_into_lines(&self.named(naming, |more| self.rendered(more, shown)));
        Ok(Proposal { call, sql, notes: self.notes(naming, &names, &passed, types) })
    }

    fn named(&self, naming: &Naming, text: impl Fn(&[Edit]) -> String) -> String {
        match naming {
            Naming::AsTheyAre => text(&[]),
            Naming::Aliased(aliases) => text(&aliases.edits),
            Naming::Wrapped(names) => {
                let names: Vec<String> = names.iter().map(|name| as_needed(name)).collect();
                // The line feed ends a comment.
                format!("SELECT * FROM ({}\n) AS result ({})", text(&[]), names.join(", "))
            }
        }
    }

    fn passed(&self, slot: usize, ty: &ParameterType) -> Option<Passed> {
        let is_set = self.uses_of(slot).all(|of| of.role.takes_a_set() || of.tests_null);
        let text = |array| Passed { ty: ArgType { scalar: ScalarType::Text, array }, fit: Fit::Text };
        match known(ty.oid) {
            // A list is a set: what takes it otherwise gets it as Postgres writes it.
            Some((ArgType { array: true, .. }, _)) if !is_set => Some(text(false)),
            Some((ty, fit)) => Some(Passed { ty, fit }),
            None if is_pseudo(&ty.name) => None,
            None => Some(text(is_set && ty.name.ends_with("[]"))),
        }
    }

    fn notes(
        &self,
        naming: &Naming,
        names: &[ArgumentName],
        passed: &[Passed],
        types: &[ParameterType],
    ) -> Vec<String> {
        let as_text = passed.iter().zip(types).zip(names).filter(|((passed, _), _)| passed.fit == Fit::Text);
        let as_text = as_text.map(|((_, ty), name)| format!("{{{}}} is {}, passed as text", name.name, ty.name));
        let renamed = match naming {
            Naming::AsTheyAre => None,
            Naming::Aliased(_) => Some("columns are renamed so that each has a name of its own".to_owned()),
            Naming::Wrapped(_) => {
                Some("the SELECT around the statement gives each column a name of its own".to_owned())
            }
        };
        as_text.chain(renamed).collect()
    }
}

fn no_type(name: &ArgumentName, ty: &ParameterType) -> Refused {
    Refused::NoType { name: name.name.clone(), ty: ty.name.clone() }
}

/// Types of which there is no value that a client could send.
fn is_pseudo(name: &str) -> bool {
    ["record", "record[]", "void", "trigger", "internal", "cstring", "unknown"].contains(&name)
        || name.starts_with("any")
}

fn known(oid: u32) -> Option<(ArgType, Fit)> {
    use ScalarType::{Bool, Date, Float, Int, Numeric, Text, Timestamp, TimestampTz, Uuid};
    let (scalar, array, fit) = match oid {
        20 => (Int, false, Fit::Same),
        21 | 23 => (Int, false, Fit::Wider),
        700 => (Float, false, Fit::Rounded),
        701 => (Float, false, Fit::Same),
        1700 => (Numeric, false, Fit::Same),
        16 => (Bool, false, Fit::Same),
        25 => (Text, false, Fit::Same),
        1043 => (Text, false, Fit::Wider),
        2950 => (Uuid, false, Fit::Same),
        1082 => (Date, false, Fit::Same),
        1114 => (Timestamp, false, Fit::Same),
        1184 => (TimestampTz, false, Fit::Same),
        1016 => (Int, true, Fit::Same),
        1005 | 1007 => (Int, true, Fit::Wider),
        1021 => (Float, true, Fit::Rounded),
        1022 => (Float, true, Fit::Same),
        1231 => (Numeric, true, Fit::Same),
        1000 => (Bool, true, Fit::Same),
        1009 => (Text, true, Fit::Same),
        1015 => (Text, true, Fit::Wider),
        2951 => (Uuid, true, Fit::Same),
        1182 => (Date, true, Fit::Same),
        1115 => (Timestamp, true, Fit::Same),
        1185 => (TimestampTz, true, Fit::Same),
        _ => return None,
    };
    Some((ArgType { scalar, array }, fit))
}

/// What stands after the argument, so that the statement means what it meant.
fn cast(of: &Use, passed: &Passed, ty: &ParameterType) -> String {
    if of.tests_null {
        return String::new();
    }
    let is_compared = of.role.compares();
    match &of.cast {
        Some(cast) if is_compared && cast.like == Some(passed.ty) => String::new(),
        Some(cast) => cast.text.clone(),
        None if passed.fit == Fit::Same || (passed.fit == Fit::Wider && is_compared) => String::new(),
        None => format!("::{}", ty.name),
    }
}

/// Long statements that stand in one line, with a line for each clause.
fn broken_into_lines(sql: &str) -> String {
    const LONG: usize = 100;
    const CLAUSES: [&str; 9] = ["where", "group", "having", "window", "order", "limit", "union", "intersect", "except"];
    const BEFORE_JOIN: [&str; 7] = ["left", "right", "full", "inner", "cross", "natural", "outer"];
    if sql.len() <= LONG || sql.contains('\n') {
        return sql.to_owned();
    }
    let Ok(pieces) = Pieces::of(sql) else { return sql.to_owned() };
    let mut breaks = Vec::new();
    for at in (1..pieces.len()).filter(|at| pieces.depth(*at) == 0 && !pieces.is_sign(at - 1, '{')) {
        let is_from = pieces.is_word(at, "from") && !pieces.is_word(at - 1, "distinct");
        let is_join = pieces.is_one_of(at, &["join", "left", "right", "full", "inner", "cross", "natural"])
            && !pieces.is_one_of(at - 1, &BEFORE_JOIN)
            && !pieces.is_sign(at + 1, '(');
        if is_from || is_join || pieces.is_one_of(at, &CLAUSES) {
            breaks.push(pieces.bytes(at..at + 1).start);
        }
    }
    let mut text = String::with_capacity(sql.len());
    let mut begin = 0;
    for at in breaks {
        text.push_str(sql[begin..at].trim_end());
        text.push('\n');
        begin = at;
    }
    text + &sql[begin..]
}
