//! Columns that decide the result: those of every condition, and of targets that are used. A change of others drops nothing.

use std::collections::BTreeSet;

use super::blocks::{BlockId, Blocks, Entry, OccurrenceId};
use super::columns::{aliased, Named};
use super::query::{self, kind, Target};
use super::tree::{Node, Value};

/// What of a relation's row decides the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// None at all: only that the row is there.
    Columns(BTreeSet<i16>),
    /// The whole row.
    Row,
    /// Any change of it, also one that leaves each column as it was (`xmin`, `ctid`).
    Anything,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads::Columns(BTreeSet::new())
    }
}

impl Reads {
    fn add(&mut self, column: i16) {
        match (&mut *self, column) {
            (Reads::Anything, _) => {}
            (_, ..0) => *self = Reads::Anything,
            (_, 0) => *self = Reads::Row,
            (Reads::Row, _) => {}
            (Reads::Columns(columns), column) => {
                columns.insert(column);
            }
        }
    }
}

struct Reader<'b, 'a> {
    blocks: &'b Blocks<'a>,
    reads: Vec<Reads>,
    /// Targets that have been read, by the block and their number.
    seen: BTreeSet<(BlockId, i16)>,
}

impl<'a> Blocks<'a> {
    /// Of each occurrence.
    pub fn reads(&self) -> Vec<Reads> {
        let reads = self.occurrences.iter().map(|_| Reads::default()).collect();
        let mut reader = Reader { blocks: self, reads, seen: BTreeSet::new() };
        for (id, block) in self.blocks.iter().enumerate() {
            let query = block.query;
            for (name, value) in query.values() {
                // Targets that are used are read where they are; a WITH where it is named.
                if name != "targetList" && name != "cteList" {
                    reader.value(value, id);
                }
            }
            let is_whole = id == 0
                || block.reads_all
                || query.has("setOperations")
                || query.has("distinctClause")
                || query.is("hasTargetSRFs");
            for target in query::targets(query) {
                if is_whole || target.reference != 0 {
                    reader.target(target, id);
                }
            }
        }
        let Reader { mut reads, .. } = reader;
        for (occurrence, reads) in self.occurrences.iter().zip(&mut reads) {
            self.add_bases(occurrence.relation, reads);
        }
        reads
    }

    /// A generated column is read by the columns that it is computed from.
    fn add_bases(&self, relation: Option<u32>, reads: &mut Reads) {
        let Some(relation) = relation.and_then(|relation| self.facts.relations.get(&relation)) else { return };
        let Reads::Columns(columns) = reads else { return };
        let base =
            |column: &i16| relation.columns.get(column).map(|column| &column.base).filter(|base| !base.is_empty());
        let bases: Vec<i16> = columns.iter().filter_map(base).flat_map(|base| base.iter().copied()).collect();
        columns.retain(|column| base(column).is_none());
        columns.extend(bases);
    }
}

impl<'a> Reader<'_, 'a> {
    fn value(&mut self, value: &'a Value, block: BlockId) {
        match value {
            Value::Node(node) => self.node(node, block),
            Value::List(values) => values.iter().for_each(|value| self.value(value, block)),
            _ => {}
        }
    }

    fn node(&mut self, node: &'a Node, block: BlockId) {
        match &*node.kind {
            "VAR" => {
                if let Named::Entry { entry, block, column } = self.blocks.named(node, block) {
                    self.read(entry, column, block);
                }
            }
            "SUBLINK" => self.value(node.get("testexpr"), block),
            "QUERY" => {}
            "RANGETBLENTRY" => {
                if ![kind::RELATION, kind::SUBQUERY, kind::JOIN, kind::GROUP].contains(&node.text("rtekind")) {
                    node.values().for_each(|(_, value)| self.value(value, block));
                }
                self.value(node.get("securityQuals"), block);
            }
            _ => node.values().for_each(|(_, value)| self.value(value, block)),
        }
    }

    fn read(&mut self, entry: Entry<'a>, column: i16, block: BlockId) {
        match entry {
            Entry::Occurrence(id) => self.reads[id].add(column),
            Entry::Block(inner) => {
                for target in query::targets(self.blocks.blocks[inner].query) {
                    if column == 0 || target.number == column {
                        self.target(target, inner);
                    }
                }
            }
            Entry::Other(entry) if column > 0 => {
                if let Some(value) = aliased(entry, column) {
                    self.value(value, block);
                }
            }
            Entry::Other(entry) => {
                self.value(entry.get("joinaliasvars"), block);
                self.value(entry.get("groupexprs"), block);
            }
            Entry::Unread => {}
        }
    }

    fn target(&mut self, target: Target<'a>, block: BlockId) {
        if self.seen.insert((block, target.number)) {
            self.node(target.expression, block);
        }
    }
}

/// Occurrences that an expression names, wherever it takes them from, also inside subselects.
pub(super) struct Names<'b, 'a> {
    pub blocks: &'b Blocks<'a>,
    pub names: BTreeSet<OccurrenceId>,
}

impl<'a> Names<'_, 'a> {
    pub fn value(&mut self, value: &'a Value, block: BlockId) {
        match value {
            Value::Node(node) => self.node(node, block),
            Value::List(values) => values.iter().for_each(|value| self.value(value, block)),
            _ => {}
        }
    }

    pub fn node(&mut self, node: &'a Node, block: BlockId) {
        match &*node.kind {
            "VAR" => {
                if let Some(column) = self.blocks.column(node, block, &[]) {
                    self.names.insert(column.occurrence);
                    return;
                }
                let Named::Entry { entry, block: holder, .. } = self.blocks.named(node, block) else { return };
                match entry {
                    Entry::Occurrence(id) => {
                        self.names.insert(id);
                    }
                    Entry::Block(inner) => {
                        for target in query::targets(self.blocks.blocks[inner].query) {
                            self.node(target.expression, inner);
                        }
                    }
                    Entry::Other(entry) => {
                        self.value(entry.get("joinaliasvars"), holder);
                        self.value(entry.get("groupexprs"), holder);
                    }
                    Entry::Unread => {}
                }
            }
            "QUERY" => {
                for (id, block) in self.blocks.blocks.iter().enumerate() {
                    if std::ptr::eq(block.query, node) {
                        let values = node.values().filter(|(name, _)| *name != "rtable");
                        values.for_each(|(_, value)| self.value(value, id));
                    }
                }
            }
            _ => node.values().for_each(|(_, value)| self.value(value, block)),
        }
    }
}
