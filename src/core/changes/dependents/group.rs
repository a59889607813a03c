//! The calls of one predicate over one space.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::plan::{Lookup, Plan, GROWING};
use super::ranges::{Interval, Ranges};
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::columns_read::{Columns, Unchanged};
use crate::core::catalog::demand::Want;
use crate::core::changes::dependency::{Dependency, DependentId};
use crate::core::changes::image::Image;
use crate::core::changes::looks::Looks;
use crate::core::values::value::Value;

/// Which predicate and which call, by their addresses: both live as long as the group does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) struct GroupId(usize, usize);

#[derive(Debug)]
pub(in crate::core) struct Group {
    predicate: Arc<Predicate>,
    call: Arc<CallPattern>,
    plan: Plan,
    /// Of the space's rows; None: all. A call is of one query.
    reads: Option<Columns>,
    /// Hash code and number of calls that no range restricts.
    unranged: BTreeSet<(u64, u64)>,
    /// The others, on a line for each hash code.
    ranged: Ranges,
    /// Calls of which not all is in here.
    growing: usize,
    /// Of the values of the space's rows, where the predicate asks for any.
    _want: Option<Want>,
}

/// Told of each call that may match; a call may come several times.
type Visit<'a> = &'a mut dyn FnMut(DependentId) -> ControlFlow<()>;

impl GroupId {
    pub(in crate::core) fn of(dependency: &Dependency) -> GroupId {
        GroupId(Arc::as_ptr(&dependency.predicate) as usize, Arc::as_ptr(&dependency.call) as usize)
    }
}

impl Group {
    /// An empty one for dependents such as this.
    pub(in crate::core) fn of(dependency: &Dependency, want: Option<Want>) -> Group {
        Group {
            predicate: dependency.predicate.clone(),
            call: dependency.call.clone(),
            plan: Plan::of(&dependency.predicate, dependency.call.args()),
            reads: dependency.reads.clone(),
            unranged: BTreeSet::new(),
            ranged: Ranges::default(),
            growing: 0,
            _want: want,
        }
    }

    pub(in crate::core) fn is_empty(&self) -> bool {
        self.unranged.is_empty() && self.ranged.is_empty()
    }

    /// Does any change concern its calls?
    pub(in crate::core) fn is_of_any_change(&self) -> bool {
        self.predicate.is_any()
    }

    /// Does a change leave all that its calls read as it was?
    pub(in crate::core) fn passes_over(&self, unchanged: &Unchanged) -> bool {
        self.reads.as_ref().is_some_and(|read| unchanged.covers(read))
    }

    /// How many of a call's codes are put in and taken out, about.
    pub(in crate::core) fn count_of(&self, values: &[Value]) -> usize {
        self.plan.count_of_call(&self.predicate, self.call.args(), values)
    }

    /// Puts in what a call is found by, of these of its values.
    pub(in crate::core) fn insert(&mut self, id: DependentId, values: &[Value], range: Range<usize>) {
        let interval = self.plan.interval_of_call(&self.predicate, self.call.args(), values);
        for code in self.plan.codes_of_call(&self.predicate, self.call.args(), values, range) {
            match interval {
                Some(interval) => self.ranged.insert(code, interval, id.number()),
                None => _ = self.unranged.insert((code, id.number())),
            }
        }
    }

    /// Takes out what [`Group::insert`] put in for the same values.
    pub(in crate::core) fn remove(&mut self, id: DependentId, values: &[Value], range: Range<usize>) {
        let interval = self.plan.interval_of_call(&self.predicate, self.call.args(), values);
        for code in self.plan.codes_of_call(&self.predicate, self.call.args(), values, range) {
            match interval {
                Some(interval) => self.ranged.remove(code, interval, id.number()),
                None => _ = self.unranged.remove(&(code, id.number())),
            }
        }
    }

    /// A call of which not all is in here yet: whatever a row's values are, it is looked at.
    pub(in crate::core) fn begin(&mut self, id: DependentId) {
        self.growing += usize::from(self.unranged.insert((GROWING, id.number())));
    }

    /// All of it is in here, or none is to be any more.
    pub(in crate::core) fn end(&mut self, id: DependentId) {
        self.growing -= usize::from(self.unranged.remove(&(GROWING, id.number())));
    }

    /// Every call that a row of these values may meet, and few others; breaks where the looks do not suffice.
    pub(in crate::core) fn candidates(&self, image: &Image, looks: &Looks, visit: Visit) -> ControlFlow<()> {
        looks.take()?;
        let args = self.call.args();
        // What names no argument is the same for all calls of the group.
        let mut terms = self.predicate.terms.iter().filter(|term| !term.names_argument());
        let mut others = self.predicate.others.iter().filter(|condition| !condition.names_argument());
        let may_meet =
            terms.all(|term| term.meets(args, &[], image)) && others.all(|condition| condition.meets(args, &[], image));
        if !may_meet {
            return ControlFlow::Continue(());
        }
        let places = self.plan.interval_of_row(&self.predicate, args, image);
        match self.plan.codes_of_row(&self.predicate, args, image) {
            Lookup::Only(codes) => {
                if self.growing > 0 {
                    self.candidates_of(GROWING, &places, looks, visit)?;
                }
                codes.into_iter().try_for_each(|code| self.candidates_of(code, &places, looks, visit))
            }
            Lookup::Everywhere => {
                let mut from = Some(0);
                while let Some(code) = from.and_then(|from| self.next_code(from)) {
                    self.candidates_of(code, &places, looks, visit)?;
                    from = code.checked_add(1);
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Entries of the calls that no range restricts: a call of a predicate without terms has one.
    pub(in crate::core) fn unranged_len(&self) -> usize {
        self.unranged.len()
    }

    /// Every call, once for each code that it is kept under.
    pub(in crate::core) fn all(&self, visit: Visit) -> ControlFlow<()> {
        self.unranged.iter().try_for_each(|(_, id)| visit(DependentId::of(*id)))?;
        self.ranged.all(&mut |id| visit(DependentId::of(id)))
    }

    /// Those under a hash code.
    fn candidates_of(&self, code: u64, places: &Lookup<Interval>, looks: &Looks, visit: Visit) -> ControlFlow<()> {
        looks.take()?;
        self.unranged.range((code, 0)..=(code, u64::MAX)).try_for_each(|(_, id)| visit(DependentId::of(*id)))?;
        let visit = &mut |id| visit(DependentId::of(id));
        match places {
            Lookup::Only(interval) => self.ranged.overlapping(code, *interval, looks, visit),
            Lookup::Everywhere => self.ranged.of_line(code, visit),
        }
    }

    /// The first hash code from this one on under which a call is kept.
    fn next_code(&self, from: u64) -> Option<u64> {
        let unranged = self.unranged.range((from, 0)..).next().map(|(code, _)| *code);
        [unranged, self.ranged.next_line(from)].into_iter().flatten().min()
    }
}
