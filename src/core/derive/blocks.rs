//! Blocks and groups: a block is a query within the statement (a view, a WITH, a subselect), a group is occurrences of
//! relations that inner joins tie together, with the conditions that all of them must meet.
//!
//! WHERE and inner ON go to the group that they stand in. The null-extended side of an outer join is a group of its own with
//! the conditions of its ON alone: WHERE does not restrict it, unless it demands a value of it, which makes the join an inner
//! one. A plain block joins the group around it, and so does a subselect that WHERE requires to have a row.

use std::collections::BTreeSet;
use std::ops::Range;

use super::facts::Facts;
use super::query::{self, conjuncts, targets};
use super::strict::{plain_column, strict};
use super::tree::Node;

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
    pub is_shown_only: bool,
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
pub(super) enum Stand {
    /// Its relations join the group of what holds it.
    Joined,
    Alone,
}

/// What placing a FROM has found.
pub(super) struct Placing<'a> {
    pub block: BlockId,
    pub query: &'a Node,
    /// Of each entry of the range table, where FROM names it.
    pub groups: Vec<Option<GroupId>>,
    /// Entries and columns that are not null in any row of the group.
    pub required: BTreeSet<(usize, i16)>,
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

    pub(super) fn group(&mut self, depth: usize, up: Option<GroupId>) -> GroupId {
        self.groups.push(Group { depth, up, conditions: Vec::new(), is_shown_only: self.is_shown_only });
        self.groups.len() - 1
    }

    /// A group of its own, one deeper than `outer`.
    pub(super) fn inner(&mut self, outer: GroupId, up: Option<GroupId>) -> GroupId {
        self.group(self.groups[outer].depth + 1, up)
    }

    pub(super) fn occurrence(
        &mut self,
        relation: Option<u32>,
        alias: &'a str,
        group: GroupId,
        source: Option<&'a Node>,
    ) -> Entry<'a> {
        self.occurrences.push(Occurrence { relation, alias, group, source });
        Entry::Occurrence(self.occurrences.len() - 1)
    }

    pub(super) fn place_condition(&mut self, group: GroupId, block: BlockId, expression: &'a Node) {
        self.groups[group].conditions.push(Placed {
            expression,
            block,
            substitutes: Vec::new(),
            barred: 0..0,
            is_told: false,
        });
    }

    /// `demanded`: its columns that the conditions above require to be no null; `is_in_from`: it stands in a FROM.
    pub(super) fn block(
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

    pub fn is_within(&self, group: GroupId, outer: GroupId) -> bool {
        let ups = std::iter::successors(Some(group), |group| self.groups[*group].up);
        ups.into_iter().any(|group| group == outer)
    }
}
