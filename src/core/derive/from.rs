//! What a FROM holds: which group each of its items stands in, and what each entry of the range table is.

use std::collections::BTreeSet;

use super::blocks::{BlockId, Blocks, Entry, GroupId, Placing, Stand};
use super::query::{self, conjuncts, is_plain, kind};
use super::sources;
use super::strict::strict;
use super::tree::Node;

impl<'a> Blocks<'a> {
    /// Gives each entry of the range table that `item` of a FROM names its group.
    pub(super) fn place(&mut self, item: &'a Node, group: GroupId, placing: &mut Placing<'a>) {
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

    pub(super) fn entry(&mut self, entry: &'a Node, index: usize, placing: &Placing<'a>) -> Entry<'a> {
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
