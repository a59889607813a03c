//! Rows of other tables that go with one that is deleted, or lose their reference to it, as far as foreign keys reach: to the end of
//! each chain, around each circle, and through tables that have no section.
//!
//! ```text
//! a row that goes ── ON DELETE CASCADE ─> rows that go ── …
//!               \─── ON DELETE SET ─────> rows whose columns change ── ON UPDATE of these columns ─> …
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::choose::Chosen;
use super::facts::{Follows, ForeignKey, Relation};

/// Relations that one statement tells of, and passes on its way.
const MOST: usize = 256;

/// What becomes of rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Go,
    /// These columns are set.
    Change(BTreeSet<i16>),
}

impl Fate {
    /// What becomes of rows that refer to those by the key; None: they stay as they are.
    fn passed_on(&self, key: &ForeignKey) -> Option<Fate> {
        let change = || Some(Fate::Change(key.columns.iter().copied().collect()));
        match (self, key.on_delete, key.on_update) {
            (Fate::Go, Follows::Cascade, _) => Some(Fate::Go),
            (Fate::Go, Follows::Set, _) => change(),
            (Fate::Change(set), _, Follows::Cascade | Follows::Set)
                if key.referenced.iter().any(|column| set.contains(column)) =>
            {
                change()
            }
            _ => None,
        }
    }
}

/// Rows of a relation that one thing becomes of.
pub(super) struct Node<'a> {
    pub relation: &'a Relation,
    pub fate: Fate,
}

/// By the foreign key the rows of `to` follow those of `from`.
pub(super) struct Edge<'a> {
    pub from: usize,
    pub to: usize,
    pub key: &'a ForeignKey,
}

pub(super) struct Cascades<'a> {
    /// The first is the row that is deleted.
    pub nodes: Vec<Node<'a>>,
    pub edges: Vec<Edge<'a>>,
    /// Nodes that follow each other around, each circle as a whole, before those that follow it.
    pub groups: Vec<Vec<usize>>,
    /// Relations that more rows of are reached than can be told one by one: any of theirs may be.
    pub beyond: Vec<&'a Relation>,
}

impl<'a> Cascades<'a> {
    pub fn of(relation: &'a Relation, chosen: &Chosen<'a>) -> Cascades<'a> {
        let mut cascades = Cascades {
            nodes: vec![Node { relation, fate: Fate::Go }],
            edges: Vec::new(),
            groups: Vec::new(),
            beyond: Vec::new(),
        };
        let cut = cascades.reach(chosen);
        cascades.beyond = beyond(cut, chosen);
        cascades.keep_what_is_told(chosen);
        cascades.groups = groups(cascades.nodes.len(), &cascades.edges);
        cascades
    }

    /// What follows the node.
    pub fn following(&self, node: usize) -> impl Iterator<Item = &Edge<'a>> {
        self.edges.iter().filter(move |edge| edge.from == node)
    }

    /// What the node follows.
    pub fn followed(&self, node: usize) -> impl Iterator<Item = &Edge<'a>> {
        self.edges.iter().filter(move |edge| edge.to == node)
    }

    /// What it does not get to, and what becomes of it.
    fn reach(&mut self, chosen: &Chosen<'a>) -> Vec<Node<'a>> {
        let mut cut = Vec::new();
        let mut known = BTreeMap::from([((self.nodes[0].relation.oid, Fate::Go), 0)]);
        let mut from = 0;
        while from < self.nodes.len() {
            let parent = self.nodes[from].relation;
            for (child, key) in chosen.following(parent.oid) {
                let Some(fate) = self.nodes[from].fate.passed_on(key) else { continue };
                let place = known.get(&(child.oid, fate.clone())).copied();
                let is_seen = is_seen(child, &key.columns) && is_seen(parent, &key.referenced);
                if !is_seen || (place.is_none() && self.nodes.len() == MOST) {
                    cut.push(Node { relation: child, fate });
                    continue;
                }
                let to = place.unwrap_or(self.nodes.len());
                if place.is_none() {
                    known.insert((child.oid, fate.clone()), to);
                    self.nodes.push(Node { relation: child, fate });
                }
                self.edges.push(Edge { from, to, key });
            }
            from += 1;
        }
        cut
    }

    /// Leaves out the nodes behind which no section is.
    fn keep_what_is_told(&mut self, chosen: &Chosen<'a>) {
        let mut kept: Vec<bool> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| at == 0 || chosen.table(node.relation.oid).is_some())
            .collect();
        let mut open: Vec<usize> = (0..kept.len()).filter(|at| kept[*at]).collect();
        while let Some(at) = open.pop() {
            for edge in self.followed(at) {
                if !kept[edge.from] {
                    kept[edge.from] = true;
                    open.push(edge.from);
                }
            }
        }
        let mut places = vec![None; kept.len()];
        (0..kept.len()).filter(|at| kept[*at]).enumerate().for_each(|(place, at)| places[at] = Some(place));
        let mut at = 0..kept.len();
        self.nodes.retain(|_| at.next().is_some_and(|at| kept[at]));
        self.edges.retain_mut(|edge| {
            let (Some(from), Some(to)) = (places[edge.from], places[edge.to]) else { return false };
            (edge.from, edge.to) = (from, to);
            true
        });
    }
}

/// All that is reached from there, each relation once.
fn beyond<'a>(cut: Vec<Node<'a>>, chosen: &Chosen<'a>) -> Vec<&'a Relation> {
    let mut known = BTreeSet::new();
    let mut relations: BTreeMap<(&str, &str), &Relation> = BTreeMap::new();
    let mut open = cut;
    while let Some(Node { relation, fate }) = open.pop() {
        if !known.insert((relation.oid, fate.clone())) {
            continue;
        }
        relations.insert((&relation.schema, &relation.name), relation);
        let following = chosen.following(relation.oid);
        open.extend(following.filter_map(|(child, key)| Some(Node { relation: child, fate: fate.passed_on(key)? })));
    }
    relations.into_values().collect()
}

/// May the role read all of these columns, of all rows?
fn is_seen(relation: &Relation, columns: &[i16]) -> bool {
    let is_read =
        |number: &i16| relation.column(*number).is_some_and(|column| column.rights.select && column.ty.is_open);
    relation.has_schema_usage && !relation.is_secured && columns.iter().all(is_read)
}

/// Strongly connected components, by Tarjan, in the order of the edges.
fn groups(count: usize, edges: &[Edge<'_>]) -> Vec<Vec<usize>> {
    let mut search = Search { next: vec![Vec::new(); count], seen: vec![None; count], ..Search::default() };
    edges.iter().for_each(|edge| search.next[edge.from].push(edge.to));
    for node in 0..count {
        search.visit(node);
    }
    search.groups.reverse();
    search.groups
}

#[derive(Default)]
struct Search {
    next: Vec<Vec<usize>>,
    /// When each was first seen.
    seen: Vec<Option<usize>>,
    count: usize,
    /// Those that are in no group yet.
    open: Vec<usize>,
    groups: Vec<Vec<usize>>,
}

impl Search {
    /// The earliest that the node leads back to. It goes as deep as there are nodes.
    fn visit(&mut self, node: usize) -> usize {
        if let Some(seen) = self.seen[node] {
            return if self.open.contains(&node) { seen } else { usize::MAX };
        }
        let own = self.count;
        self.count += 1;
        self.seen[node] = Some(own);
        self.open.push(node);
        let back = self.next[node].clone().into_iter().map(|next| self.visit(next)).fold(own, usize::min);
        if back == own {
            let from = self.open.iter().position(|open| *open == node).unwrap_or_default();
            let mut group = self.open.split_off(from);
            group.sort_unstable();
            self.groups.push(group);
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::super::choose::choose;
    use super::super::fixtures::database;
    use super::super::Wanted;
    use super::*;

    /// Of the first table: the groups, each node by its relation, with `*` where it only changes.
    fn shown(lines: &str) -> String {
        let database = database(lines);
        let chosen = choose(&database, &Wanted::default()).unwrap();
        let cascades = Cascades::of(&database.relations[0], &chosen);
        let of = |node: &usize| {
            let Node { relation, fate } = &cascades.nodes[*node];
            format!("{}{}", relation.name, if *fate == Fate::Go { "" } else { "*" })
        };
        let groups = cascades.groups.iter().map(|group| group.iter().map(of).collect::<Vec<_>>().join(" "));
        let beyond: Vec<&str> = cascades.beyond.iter().map(|relation| &*relation.name).collect();
        let beyond = if beyond.is_empty() { String::new() } else { format!("; any {}", beyond.join(" ")) };
        groups.collect::<Vec<_>>().join(", ") + &beyond
    }

    #[test]
    fn what_goes_with_a_row_is_followed_to_its_end() {
        for (lines, expected) in [
            ("a: id int key", "a"),
            ("a: id int key\nb: id int key, a int >a", "a"),
            ("a: id int key\nb: id int key, a int >>a\nc: id int key, b int >>b\nd: id int key, c int >>c\ne: id int key, d int >>d", "a, b, c, d, e"),
            // Whoever only loses a reference passes nothing on.
            ("a: id int key\nb: id int key, a int >a set\nc: id int key, b int >>b", "a, b*"),
            // Two ways to one table.
            ("a: id int key\nb: id int key, a int >>a\nc: id int key, a int >>a, b int >>b\nd: id int key, c int >>c", "a, b, c, d"),
            ("a: id int key, up int >>a", "a"),
            ("a: id int key, c int >>c\nb: id int key, a int >>a\nc: id int key, b int >>b\nd: id int key, b int >>b", "a b c, d"),
            // A table that has no section leads on, or is left out.
            ("a: id int key\nk: id int unique, a int >>a\nc: id int key, k int >>k", "a, k, c"),
            ("a: id int key\nk: id int unique, a int >>a\nl: k int >>k", "a"),
            ("a: id int key\nb: id int key, a int >>a closed\nc: id int key, b int >>b", "a; any b c"),
            ("a: id int key\nb: id int key, a int >>a | secured\nc: id int key, b int >>b", "a; any b c"),
            ("a: id int key\nb: id int key, a int >>a closed\nc: id int key, b int >b set\nd: id int key, c int >>c", "a; any b c"),
        ] {
            assert_eq!(shown(lines), expected, "{lines}");
        }
    }

    #[test]
    fn there_is_an_end_of_what_one_statement_tells() {
        let line = |at: usize| {
            format!("t{at}: id int key, up int{}", if at == 0 { String::new() } else { format!(" >>t{}", at - 1) })
        };
        let lines: Vec<String> = (0..MOST + 1).map(line).collect();
        assert!(shown(&lines[..MOST].join("\n")).ends_with("t255"));
        assert!(shown(&lines.join("\n")).ends_with("t255; any t256"));
    }
}
