//! Blocks and groups: a block is a query within the statement (a view, a WITH, a subselect), a group is occurrences of
//! relations that inner joins tie together, with the conditions that all of them must meet.
//!
//! WHERE and inner ON go to the group that they stand in. The null-extended side of an outer join is a group of its own with
//! the conditions of its ON alone: WHERE does not restrict it, unless it demands a value of it, which makes the join an inner
//! one. A plain block joins the group around it, and so does a subselect that WHERE requires to have a row.

use std::collections::BTreeSet;
use std::ops::Range;

use super::facts::Facts;
use super::query::{self, conjuncts, is_plain, kind, targets, Limit};
use super::sources;
use super::tree::{Node, Value};

pub(super) type OccurrenceId = usize;
pub(super) type GroupId = usize;
pub(super) type BlockId = usize;

/// A statement that names a WITH of a WITH of a WITH many times is a great one once each stands where it is named.
const MAX_BLOCKS: usize = 1_000;

#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub facts: &'a Facts,
    pub occurrences: Vec<Occurrence<'a>>,
    pub groups: Vec<Group<'a>>,
    pub blocks: Vec<Block<'a>>,
    /// The null-extended groups of the statement's own FROM.
    pub outer: Vec<GroupId>,
    /// More than [`MAX_BLOCKS`]: nothing may be said of it.
    pub is_too_great: bool,
    is_shown_only: bool,
}

#[derive(Debug)]
pub(super) struct Group<'a> {
    pub depth: usize,
    /// The group whose FROM holds this one's block: its conditions may enter.
    pub up: Option<GroupId>,
    pub conditions: Vec<Placed<'a>>,
    /// It matters only for the rows of the result, not for which they are.
    pub is_shown_only: bool,
}

/// A condition where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<'a> {
    pub expression: &'a Node,
    pub block: BlockId,
    pub substitutes: Vec<Substitute<'a>>,
    /// A subselect whose relations have joined the group: their conditions say what it does.
    pub is_told: bool,
    /// Occurrences that it does not restrict although it stands in their group.
    pub barred: Range<OccurrenceId>,
}

/// What stands in the place of a part of a condition: a column of a subselect, or of an arm of a set operation.
#[derive(Debug, Clone)]
pub(super) struct Substitute<'a> {
    pub of: &'a Node,
    pub by: &'a Node,
    /// Where `by` stands.
    pub block: BlockId,
    /// Its boundary is one that lets nothing through here.
    pub is_crossing: bool,
}

/// One occurrence of a relation, or of a source of values.
#[derive(Debug)]
pub(super) struct Occurrence<'a> {
    /// None of a source.
    pub relation: Option<u32>,
    pub alias: &'a str,
    pub group: GroupId,
    /// VALUES, unnest or a recursive WITH.
    pub source: Option<&'a Node>,
}

#[derive(Debug)]
pub(super) struct Block<'a> {
    pub query: &'a Node,
    pub up: Option<BlockId>,
    pub group: GroupId,
    /// What each entry of its range table is.
    pub entries: Vec<Entry<'a>>,
    /// The statement's own block, or a plain one that is in its FROM.
    pub is_shown: bool,
    /// Its targets are its value: a subselect in an expression, an arm of a set operation.
    pub reads_all: bool,
    /// Numbers of the targets through which a condition may enter.
    pub open: BTreeSet<i16>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    Occurrence(OccurrenceId),
    Block(BlockId),
    /// A join, the grouped columns, a function.
    Other(&'a Node),
    /// `old` and `new` of a view, before 16: not read.
    Unread,
}

/// How a block stands to the group that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Its relations join the group of what holds it.
    Joined,
    Alone,
}

/// What placing a FROM has found.
struct Placing<'a> {
    block: BlockId,
    query: &'a Node,
    /// Of each entry of the range table, where FROM names it.
    groups: Vec<Option<GroupId>>,
    /// Entries and columns that are not null in any row of the group.
    required: BTreeSet<(usize, i16)>,
}

impl<'a> Blocks<'a> {
    pub fn of(query: &'a Node, facts: &'a Facts) -> Blocks<'a> {
        let mut blocks = Blocks {
            facts,
            occurrences: Vec::new(),
            groups: Vec::new(),
            blocks: Vec::new(),
            outer: Vec::new(),
            is_too_great: false,
            is_shown_only: false,
        };
        let group = blocks.group(0, None);
        blocks.block(query, None, group, Stand::Alone, &BTreeSet::new(), false);
        blocks
    }

    fn group(&mut self, depth: usize, up: Option<GroupId>) -> GroupId {
        self.groups.push(Group { depth, up, conditions: Vec::new(), is_shown_only: self.is_shown_only });
        self.groups.len() - 1
    }

    /// A group of its own, one deeper than `outer`.
    fn inner(&mut self, outer: GroupId, up: Option<GroupId>) -> GroupId {
        self.group(self.groups[outer].depth + 1, up)
    }

    fn occurrence(
        &mut self,
        relation: Option<u32>,
        alias: &'a str,
        group: GroupId,
        source: Option<&'a Node>,
    ) -> Entry<'a> {
        self.occurrences.push(Occurrence { relation, alias, group, source });
        Entry::Occurrence(self.occurrences.len() - 1)
    }

    fn place_condition(&mut self, group: GroupId, block: BlockId, expression: &'a Node) {
        self.groups[group].conditions.push(Placed {
            expression,
            block,
            substitutes: Vec::new(),
            barred: 0..0,
            is_told: false,
        });
    }

    /// `demanded`: its columns that the conditions above require to be no null; `is_in_from`: it stands in a FROM.
    fn block(
        &mut self,
        query: &'a Node,
        up: Option<BlockId>,
        group: GroupId,
        stand: Stand,
        demanded: &BTreeSet<i16>,
        is_in_from: bool,
    ) -> BlockId {
        let is_shown = match up {
            None => true,
            Some(up) => {
                stand == Stand::Joined && is_in_from && self.blocks[up].is_shown && self.blocks[up].group == group
            }
        };
        let facts = self.facts;
        let open = query::open_columns(query, |clause, expression| facts.is_exact(clause, expression));
        let entries = vec![Entry::Unread; query.list("rtable").len()];
        let id = self.blocks.len();
        self.blocks.push(Block {
            query,
            up,
            group,
            entries,
            is_shown,
            reads_all: false,
            open: open.into_iter().collect(),
        });
        if id >= MAX_BLOCKS {
            self.is_too_great = true;
            return id;
        }
        let mut required = BTreeSet::new();
        let from = query.node("jointree");
        for condition in conjuncts(from.and_then(|from| from.node("quals"))) {
            self.place_condition(group, id, condition);
            required.extend(strict(condition, query, self.facts));
        }
        if stand == Stand::Joined {
            let demanded = targets(query).filter(|target| demanded.contains(&target.number));
            required.extend(demanded.filter_map(|target| plain_column(target.expression, query)));
        }
        let mut placing = Placing { block: id, query, groups: vec![None; query.list("rtable").len()], required };
        for item in from.into_iter().flat_map(|from| from.nodes("fromlist")) {
            self.place(item, group, &mut placing);
        }
        for (i, entry) in query.nodes("rtable").enumerate() {
            self.blocks[id].entries[i] = self.entry(entry, i, &placing);
        }
        let joined = self.join_required(id);
        self.other_subselects(id, &joined);
        id
    }

    /// Gives each entry of the range table that `item` of a FROM names its group.
    fn place(&mut self, item: &'a Node, group: GroupId, placing: &mut Placing<'a>) {
        let Placing { block, query, .. } = *placing;
        match &*item.kind {
            "RANGETBLREF" => {
                let index = entry_index(item);
                if let Some(place) = index.and_then(|index| placing.groups.get_mut(index)) {
                    *place = Some(group);
                }
            }
            "FROMEXPR" => {
                item.nodes("fromlist").for_each(|item| self.place(item, group, placing));
                conjuncts(item.node("quals"))
                    .into_iter()
                    .for_each(|condition| self.place_condition(group, block, condition));
            }
            "JOINEXPR" => {
                let (Some(left), Some(right)) = (item.node("larg"), item.node("rarg")) else { return };
                let quals = conjuncts(item.node("quals"));
                let own_group = self.blocks[block].group;
                let is_demanded = |side: &Node| {
                    let held = entries_of(side);
                    group == own_group && placing.required.iter().any(|(entry, _)| held.contains(entry))
                };
                // A demand of a value of the null-extended side leaves only rows in which it is extended by no nulls.
                let kind = match (item.text("jointype"), is_demanded(left), is_demanded(right)) {
                    (query::LEFT, _, true) | (query::RIGHT, true, _) | (query::FULL, true, true) => query::INNER,
                    (query::FULL, true, false) => query::LEFT,
                    (query::FULL, false, true) => query::RIGHT,
                    (kind, ..) => kind,
                };
                let (kept, extended) = match kind {
                    query::RIGHT => (right, left),
                    _ => (left, right),
                };
                if kind == query::INNER {
                    for condition in quals {
                        placing.required.extend(strict(condition, query, self.facts));
                        self.place_condition(group, block, condition);
                    }
                    self.place(left, group, placing);
                    self.place(right, group, placing);
                } else if kind == query::LEFT || kind == query::RIGHT {
                    let inner = self.inner(group, None);
                    if group == own_group && self.blocks[block].is_shown {
                        self.outer.push(inner);
                    }
                    quals.into_iter().for_each(|condition| self.place_condition(inner, block, condition));
                    self.place(kept, group, placing);
                    self.place(extended, inner, placing);
                } else {
                    // FULL, or one that is not known: neither side is restricted.
                    for side in [left, right] {
                        let inner = self.inner(group, None);
                        self.place(side, inner, placing);
                    }
                }
            }
            _ => {}
        }
    }

    fn entry(&mut self, entry: &'a Node, index: usize, placing: &Placing<'a>) -> Entry<'a> {
        let Placing { block, query, .. } = *placing;
        let own = self.blocks[block].group;
        let placed = placing.groups[index];
        let alias = entry.node("eref").map_or("", |alias| alias.text("aliasname"));
        let is_set_operation = query.has("setOperations");
        let demanded: BTreeSet<i16> = match placed == Some(own) {
            true => placing.required.iter().filter(|(entry, _)| *entry == index).map(|(_, column)| *column).collect(),
            false => BTreeSet::new(),
        };
        match entry.text("rtekind") {
            kind::RELATION => {
                let (Some(group), Some(relation)) = (placed, entry.number("relid")) else { return Entry::Unread };
                // Row security: what the relation itself lets through, on whichever side of a join it stands.
                for condition in entry.nodes("securityQuals").flat_map(|condition| conjuncts(Some(condition))) {
                    self.place_condition(group, block, condition);
                }
                self.occurrence(Some(relation), alias, group, None)
            }
            kind::SUBQUERY => {
                let Some(subquery) = entry.node("subquery") else { return Entry::Other(entry) };
                let group = placed.unwrap_or_else(|| self.inner(own, None));
                let (group, stand) = match is_plain(subquery) && !is_set_operation {
                    true => (group, Stand::Joined),
                    false => (self.inner(group, Some(if is_set_operation { own } else { group })), Stand::Alone),
                };
                let inner = self.block(subquery, Some(block), group, stand, &demanded, true);
                self.blocks[inner].reads_all = is_set_operation;
                Entry::Block(inner)
            }
            kind::WITH => self.with(entry, block, placed, &demanded),
            kind::VALUES | kind::FUNCTION if sources::is_source(entry) => {
                let group = placed.unwrap_or_else(|| self.inner(own, None));
                self.occurrence(None, alias, group, Some(entry))
            }
            _ => Entry::Other(entry),
        }
    }

    /// A reference to a WITH: its query stands here, anew for each reference.
    fn with(
        &mut self,
        entry: &'a Node,
        block: BlockId,
        placed: Option<GroupId>,
        demanded: &BTreeSet<i16>,
    ) -> Entry<'a> {
        let own = self.blocks[block].group;
        let mut holder = block;
        for _ in 0..entry.number("ctelevelsup").unwrap_or(0) {
            let Some(up) = self.blocks[holder].up else { return Entry::Other(entry) };
            holder = up;
        }
        let name = entry.text("ctename");
        let with = self.blocks[holder].query.nodes("cteList").find(|with| with.text("ctename") == name);
        let Some((with, query)) = with.and_then(|with| Some((with, with.node("ctequery")?))) else {
            return Entry::Other(entry);
        };
        let group = placed.unwrap_or_else(|| self.inner(own, None));
        if with.is("cterecursive") {
            let source = self.occurrence(None, name, group, Some(entry));
            if !entry.is("self_reference") {
                let inner = self.inner(group, None);
                let inner = self.block(query, Some(holder), inner, Stand::Alone, &BTreeSet::new(), false);
                self.blocks[inner].reads_all = true;
            }
            return source;
        }
        let (group, stand) = match is_plain(query) {
            true => (group, Stand::Joined),
            false => (self.inner(group, Some(group)), Stand::Alone),
        };
        Entry::Block(self.block(query, Some(holder), group, stand, demanded, holder == block))
    }

    /// Subselects that an AND term of WHERE requires to have a row join the group, so that a link table may be read first.
    fn join_required(&mut self, block: BlockId) -> Vec<&'a Node> {
        let group = self.blocks[block].group;
        let conditions = self.groups[group].conditions.iter().filter(|condition| condition.block == block);
        let conditions: Vec<&'a Node> = conditions.map(|condition| condition.expression).collect();
        let mut joined = Vec::new();
        for condition in conditions {
            for link in required_subselects(condition, self.facts) {
                let Some(subselect) = link.node("subselect") else { continue };
                let link_kind = link.text("subLinkType");
                let limit = if link_kind == query::ANY { Limit::None } else { Limit::AnyRow };
                if !query::is_joinable(subselect, limit) {
                    continue;
                }
                joined.push(link);
                let first = self.occurrences.len();
                let inner = self.block(subselect, Some(block), group, Stand::Joined, &BTreeSet::new(), false);
                self.blocks[inner].reads_all = link_kind != query::EXISTS;
                for placed in &mut self.groups[group].conditions {
                    placed.is_told |= placed.block == block && std::ptr::eq(placed.expression, link);
                }
                match link_kind {
                    query::ANY => {
                        for test in conjuncts(link.node("testexpr")) {
                            let substitutes = self.columns_of_test(test, inner);
                            let barred = 0..0;
                            self.groups[group].conditions.push(Placed {
                                expression: test,
                                block,
                                substitutes,
                                barred,
                                is_told: false,
                            });
                        }
                    }
                    query::SCALAR if &*condition.kind == "OPEXPR" => {
                        let Some(target) = targets(subselect).next() else { continue };
                        let substitute =
                            Substitute { of: link, by: target.expression, block: inner, is_crossing: false };
                        // Which row is the first hangs on all of them, whatever the condition says.
                        let barred = match subselect.has("limitCount") {
                            true => first..self.occurrences.len(),
                            false => 0..0,
                        };
                        self.groups[group].conditions.push(Placed {
                            expression: condition,
                            block,
                            substitutes: vec![substitute],
                            barred,
                            is_told: false,
                        });
                    }
                    _ => {}
                }
            }
        }
        joined
    }

    /// In the test of an IN, the columns of the subselect where Postgres names them by number.
    fn columns_of_test(&self, test: &'a Node, inner: BlockId) -> Vec<Substitute<'a>> {
        let mut params = Vec::new();
        each_node(&mut params, test, &|node| &*node.kind == "PARAM" && node.text("paramkind") == "2");
        let query = self.blocks[inner].query;
        let column = |param: &'a Node| {
            let target = query::target(query, param.number("paramid")?)?;
            Some(Substitute { of: param, by: target.expression, block: inner, is_crossing: false })
        };
        params.into_iter().filter_map(column).collect()
    }

    /// Every other subselect is a group of its own; what links it outward stays a link.
    fn other_subselects(&mut self, block: BlockId, joined: &[&'a Node]) {
        let query = self.blocks[block].query;
        for (name, value) in query.values() {
            match name {
                "targetList" => {
                    for target in query.nodes("targetList") {
                        let before = self.is_shown_only;
                        let is_of_result = self.blocks[block].up.is_none() && query::is_rowwise(query);
                        self.is_shown_only = before || is_of_result && target.text("ressortgroupref") == "0";
                        self.subselects(target, block, joined);
                        self.is_shown_only = before;
                    }
                }
                // A WITH counts where it is named.
                "cteList" => {}
                "rtable" => {
                    for entry in query.nodes("rtable") {
                        if [kind::RELATION, kind::SUBQUERY].contains(&entry.text("rtekind")) {
                            self.subselects_in(entry.get("securityQuals"), block, joined);
                        } else {
                            self.subselects(entry, block, joined);
                        }
                    }
                }
                _ => self.subselects_in(value, block, joined),
            }
        }
    }

    fn subselects_in(&mut self, value: &'a Value, block: BlockId, joined: &[&'a Node]) {
        match value {
            Value::Node(node) => self.subselects(node, block, joined),
            Value::List(values) => values.iter().for_each(|value| self.subselects_in(value, block, joined)),
            _ => {}
        }
    }

    fn subselects(&mut self, node: &'a Node, block: BlockId, joined: &[&'a Node]) {
        match &*node.kind {
            "SUBLINK" => {
                self.subselects_in(node.get("testexpr"), block, joined);
                if joined.iter().any(|joined| std::ptr::eq(*joined, node)) {
                    return;
                }
                let Some(subselect) = node.node("subselect") else { return };
                let group = self.inner(self.blocks[block].group, None);
                let inner = self.block(subselect, Some(block), group, Stand::Alone, &BTreeSet::new(), false);
                self.blocks[inner].reads_all = node.text("subLinkType") != query::EXISTS;
            }
            "QUERY" => {}
            _ => node.values().for_each(|(_, value)| self.subselects_in(value, block, joined)),
        }
    }

    pub fn is_within(&self, group: GroupId, outer: GroupId) -> bool {
        let ups = std::iter::successors(Some(group), |group| self.groups[*group].up);
        ups.into_iter().any(|group| group == outer)
    }
}

/// Subselects that must have a row where the condition is true: EXISTS, IN, a scalar one that is not null or under a strict operator.
fn required_subselects<'a>(condition: &'a Node, facts: &Facts) -> Vec<&'a Node> {
    let is_scalar = |node: &&'a Node| &*node.kind == "SUBLINK" && node.text("subLinkType") == query::SCALAR;
    match &*condition.kind {
        "SUBLINK" if [query::EXISTS, query::ANY].contains(&condition.text("subLinkType")) => vec![condition],
        "NULLTEST" if condition.text("nulltesttype") == "1" => {
            condition.node("arg").filter(is_scalar).into_iter().collect()
        }
        "OPEXPR" if condition.list("args").len() == 2 && facts.is_strict(condition) => {
            condition.nodes("args").filter(is_scalar).collect()
        }
        _ => Vec::new(),
    }
}

fn entry_index(reference: &Node) -> Option<usize> {
    reference.number::<usize>("rtindex")?.checked_sub(1)
}

/// The entries of the range table that an item of a FROM holds.
fn entries_of(item: &Node) -> Vec<usize> {
    match &*item.kind {
        "RANGETBLREF" => entry_index(item).into_iter().collect(),
        "JOINEXPR" => [item.node("larg"), item.node("rarg")].into_iter().flatten().flat_map(entries_of).collect(),
        _ => item.nodes("fromlist").flat_map(entries_of).collect(),
    }
}

/// Entries and columns of this block that are not null where the condition is true.
fn strict(condition: &Node, query: &Node, facts: &Facts) -> Vec<(usize, i16)> {
    let is_strict = match &*condition.kind {
        "OPEXPR" => true,
        // `null <> all ('{}')` is true.
        "SCALARARRAYOPEXPR" => condition.is("useOr"),
        _ => false,
    };
    match is_strict && facts.is_strict(condition) {
        true => condition.nodes("args").filter_map(|arg| plain_column(arg, query)).collect(),
        false => Vec::new(),
    }
}

/// The entry and column that an expression is, through relabelling and joins.
fn plain_column<'a>(mut node: &'a Node, query: &'a Node) -> Option<(usize, i16)> {
    loop {
        if let Some(inner) = query::relabelled(node) {
            node = inner;
            continue;
        }
        match &*node.kind {
            "VAR" if node.number("varlevelsup") == Some(0) => {
                let column = node.number::<i16>("varattno").filter(|column| *column > 0)?;
                let index = node.number::<usize>("varno")?.checked_sub(1)?;
                let entry = query.list("rtable").get(index)?.node()?;
                if entry.text("rtekind") != kind::JOIN {
                    return Some((index, column));
                }
                node = entry.list("joinaliasvars").get(usize::try_from(column).ok()? - 1)?.node()?;
            }
            _ => return None,
        }
    }
}

/// Every node within `node` that is sought, not looked into.
fn each_node<'a>(found: &mut Vec<&'a Node>, node: &'a Node, is_sought: &impl Fn(&Node) -> bool) {
    fn in_value<'a>(found: &mut Vec<&'a Node>, value: &'a Value, is_sought: &impl Fn(&Node) -> bool) {
        match value {
            Value::Node(node) => each_node(found, node, is_sought),
            Value::List(values) => values.iter().for_each(|value| in_value(found, value, is_sought)),
            _ => {}
        }
    }
    match is_sought(node) {
        true => found.push(node),
        false => node.values().for_each(|(_, value)| in_value(found, value, is_sought)),
    }
}
