//! Clients that wait for a job: first come, first served, each for the jobs that it wants.
//!
//! A claimer waits in one line for each type that it names, or in the line of those that take any. Who is served next for a
//! type is the one that came first of two lines, whatever number waits for something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Number of a waiting claimer; who came first has the least.
pub type Ticket = u64;

/// Whom a claimer takes jobs from, and which types; None: any.
type Line = (Arc<str>, Option<Arc<str>>);

/// What one claimer takes: from whom, and which types; none: any.
type Wants = (Arc<str>, Box<[Arc<str>]>);

#[derive(Debug, Default)]
pub struct Claimers {
    lines: BTreeMap<Line, BTreeSet<Ticket>>,
    waiting: BTreeMap<Ticket, Wants>,
}

impl Claimers {
    /// `from`: a space, or a section, from whose spaces any will do. Without types any will do.
    pub fn add(&mut self, ticket: Ticket, from: &Arc<str>, types: Box<[Arc<str>]>) {
        for line in lines(from, &types) {
            self.lines.entry(line).or_default().insert(ticket);
        }
        self.waiting.insert(ticket, (from.clone(), types));
    }

    pub fn remove(&mut self, ticket: Ticket) {
        let Some((from, types)) = self.waiting.remove(&ticket) else { return };
        for line in lines(&from, &types) {
            if let Some(tickets) = self.lines.get_mut(&line) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.lines.remove(&line);
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Does anybody wait for jobs of this space, or section?
    pub fn waits_for(&self, from: &Arc<str>) -> bool {
        self.lines_of(from).next().is_some()
    }

    /// Who came first of those that take any job from there.
    pub fn first_for_any(&self, from: &Arc<str>) -> Option<Ticket> {
        self.lines.get(&(from.clone(), None)).and_then(|tickets| tickets.first()).copied()
    }

    /// Who came first of those that name this type.
    pub fn first_for(&self, from: &Arc<str>, name: &Arc<str>) -> Option<Ticket> {
        self.lines.get(&(from.clone(), Some(name.clone()))).and_then(|tickets| tickets.first()).copied()
    }

    /// How many lines there are.
    pub fn lines_len(&self) -> usize {
        self.lines.len()
    }

    /// Types that somebody names, each with who came first.
    pub fn named(&self, from: &Arc<str>) -> impl Iterator<Item = (&Arc<str>, Ticket)> {
        self.lines_of(from).filter_map(|((_, name), tickets)| Some((name.as_ref()?, *tickets.first()?)))
    }

    fn lines_of(&self, from: &Arc<str>) -> impl Iterator<Item = (&Line, &BTreeSet<Ticket>)> {
        let of = from.clone();
        self.lines.range((from.clone(), None)..).take_while(move |((of_line, _), _)| *of_line == of)
    }

    /// The types that a claimer takes; none: any.
    pub fn types(&self, ticket: Ticket) -> &[Arc<str>] {
        self.waiting.get(&ticket).map_or(&[], |(_, types)| types)
    }
}

fn lines<'a>(from: &'a Arc<str>, types: &'a [Arc<str>]) -> impl Iterator<Item = Line> + 'a {
    let any = types.is_empty().then_some((from.clone(), None));
    any.into_iter().chain(types.iter().map(|name| (from.clone(), Some(name.clone()))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn types(names: &[&str]) -> Box<[Arc<str>]> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn who_came_first_is_told_for_each_type() {
        let (mail, post) = (Arc::from("mail"), Arc::from("post"));
        let mut claimers = Claimers::default();
        claimers.add(3, &mail, types(&["A", "B"]));
        claimers.add(4, &mail, types(&[]));
        claimers.add(5, &mail, types(&["B", "C"]));
        claimers.add(6, &post, types(&[]));
        let named = |claimers: &Claimers| {
            claimers.named(&mail).map(|(name, ticket)| format!("{name}{ticket}")).collect::<Vec<_>>()
        };
        assert_eq!(
            (claimers.first_for_any(&mail), named(&claimers)),
            (Some(4), vec!["A3".into(), "B3".into(), "C5".into()])
        );
        let of_b = |claimers: &Claimers| claimers.first_for(&mail, &"B".into());
        assert_eq!((of_b(&claimers), claimers.first_for(&post, &"B".into())), (Some(3), None));
        claimers.remove(3);
        claimers.remove(3);
        assert_eq!(of_b(&claimers), Some(5));
        claimers.remove(4);
        assert_eq!((claimers.first_for_any(&mail), named(&claimers)), (None, vec!["B5".into(), "C5".into()]));
        assert!(claimers.waits_for(&mail) && claimers.waits_for(&post));
        assert_eq!((claimers.types(5).len(), claimers.types(6).len()), (2, 0));
        claimers.remove(5);
        assert!(!claimers.waits_for(&mail) && claimers.waits_for(&post));
        claimers.remove(6);
        assert!(claimers.is_empty() && claimers.lines.is_empty());
    }

    proptest! {
        /// Against a plain list of who waits, in the order in which they came.
        #[test]
        fn waits_as_a_plain_list_does(
            steps in prop::collection::vec((any::<bool>(), 0_usize..3, 0_u8..8, any::<Index>()), 0..60)
        ) {
            let froms: [Arc<str>; 3] = ["mail", "{a}:mail", "mailbox"].map(Arc::from);
            let names: [Arc<str>; 3] = ["A", "B", "C"].map(Arc::from);
            let (mut claimers, mut list) = (Claimers::default(), Vec::<(Ticket, usize, Vec<usize>)>::new());
            for (ticket, (comes, from, wants, which)) in steps.into_iter().enumerate() {
                if comes {
                    let wants: Vec<usize> = (0..3).filter(|at| wants & (1 << at) != 0).collect();
                    claimers.add(ticket as Ticket, &froms[from], wants.iter().map(|at| names[*at].clone()).collect());
                    list.push((ticket as Ticket, from, wants));
                } else if !list.is_empty() {
                    let (gone, ..) = list.remove(which.index(list.len()));
                    claimers.remove(gone);
                    claimers.remove(gone);
                }
                prop_assert_eq!(claimers.is_empty(), list.is_empty());
                for (at, from) in froms.iter().enumerate() {
                    let here = || list.iter().filter(|(_, of, _)| *of == at);
                    prop_assert_eq!(claimers.waits_for(from), here().next().is_some());
                    let any = here().find(|(.., wants)| wants.is_empty()).map(|(ticket, ..)| *ticket);
                    prop_assert_eq!(claimers.first_for_any(from), any);
                    let first = |kind: usize| here().find(|(.., wants)| wants.contains(&kind)).map(|(ticket, ..)| *ticket);
                    let named: Vec<_> = (0..3).filter_map(|kind| Some((&names[kind], first(kind)?))).collect();
                    prop_assert_eq!(claimers.named(from).collect::<Vec<_>>(), named);
                }
                for (ticket, _, wants) in &list {
                    let wants: Vec<_> = wants.iter().map(|at| names[*at].clone()).collect();
                    prop_assert_eq!(claimers.types(*ticket), &wants[..]);
                }
            }
            list.into_iter().for_each(|(ticket, ..)| claimers.remove(ticket));
            prop_assert!(claimers.is_empty() && claimers.lines.is_empty());
        }
    }
}
