//! Whose the keys under a section's names are: bear deletes and overwrites only what it wrote.
//!
//! A dataset that bear has used carries a mark for each section that it stored something of. Without the mark the section's
//! names are surveyed first, and until that is done the section neither stores nor deletes.
//!
//! ```text
//!            a mark, or an empty database
//! unknown --------------------------------------------------------> owned
//!    '--> surveying --nothing there, or what only bear writes--------^  ^
//!            ^ '-----anything that others may have written--> foreign   |
//!            '---------------one of those keys has gone----------' '----' BEAR.ADOPT
//! ```
//! An owned section may find leftovers of an earlier life of bear, which go, beside keys of others, which stay.

use std::collections::BTreeSet;

use crate::core::calls::keys::{classify, KeyKind};

/// What a key under a section's names looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Only bear writes such a key.
    Proof,
    /// bear leaves such a key behind, and others may write one like it.
    Likely,
    /// It says nothing: an empty result, that bear stores without anything else.
    Blank,
    /// bear writes no such key.
    Strange,
}

/// Names that a refusal shows.
const NAMED: usize = 3;

/// What a survey has found so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tally {
    proof: bool,
    blank: bool,
    strange: u64,
    likely: u64,
    /// Some of the keys that others may have written.
    named: Vec<Box<[u8]>>,
}

/// Keys under an owned section's names that this life of bear did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earlier {
    /// There are none of bear's: they are others', if there are any.
    Others,
    /// An earlier life of bear stored something under these names: what looks like that is its.
    OfBear,
    /// The operator has said that all of them are bear's.
    Adopted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    Surveying(Tally),
    /// `to_sweep`: a walk over the database is still to tell leftovers from keys of others.
    Owned {
        earlier: Earlier,
        to_sweep: bool,
    },
    Foreign(Tally),
}

#[derive(Debug)]
struct Section {
    /// As the mark names it, see [`Ownership::arrange`].
    member: Box<str>,
    state: State,
    is_marked: bool,
}

/// A section of a catalog that takes another one's place.
#[derive(Debug)]
pub struct Arranged {
    /// As marks name it.
    pub member: Box<str>,
    /// Has it calls that the section of this name did not have before?
    pub has_new_calls: bool,
}

/// What is to be done with a key that this life of bear did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A leftover of bear's.
    Remove,
    /// Somebody's, under a name of a section that bear uses.
    Keep,
    /// Nothing, for now or for ever.
    Ignore,
}

/// What the walk over the database is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    Survey,
    Sweep,
}

/// All sections of a catalog, in its order.
#[derive(Debug, Default)]
pub struct Ownership {
    sections: Vec<Section>,
}

impl Ownership {
    /// Takes the sections of a catalog, as the mark names them. Those that were there before keep their state; but where
    /// `has_new_calls` a key that was no section's may have the name of an entry now, which this life did not write.
    pub fn arrange(&mut self, sections: impl Iterator<Item = Arranged>) {
        let mut before = std::mem::take(&mut self.sections);
        let known = |Arranged { member, has_new_calls }| match before.iter().position(|of| of.member == member) {
            Some(at) => {
                let mut section = before.swap_remove(at);
                match &mut section.state {
                    State::Owned { to_sweep, .. } => *to_sweep |= has_new_calls,
                    State::Surveying(tally) if has_new_calls => *tally = Tally::default(),
                    State::Surveying(_) | State::Foreign(_) | State::Unknown => {}
                }
                section
            }
            None => Section { member, state: State::Unknown, is_marked: false },
        };
        self.sections = sections.map(known).collect();
    }

    /// The dataset is another one by now.
    pub fn forget(&mut self) {
        for section in &mut self.sections {
            (section.state, section.is_marked) = (State::Unknown, false);
        }
    }

    /// The database is empty: whatever will stand under the sections' names bear will have written, or seen written.
    pub fn emptied(&mut self) {
        for section in &mut self.sections {
            section.state = State::Owned { earlier: Earlier::Others, to_sweep: false };
            section.is_marked = false;
        }
    }

    /// The marks are gone, or somebody changed them: they are written again.
    pub fn unmark(&mut self) {
        self.sections.iter_mut().for_each(|section| section.is_marked = false);
    }

    /// Is there a section of which nothing is known? Then [`Self::begin`] is to be called before anything relies on it.
    pub fn has_unknown(&self) -> bool {
        self.sections.iter().any(|section| section.state == State::Unknown)
    }

    /// Takes note of the marks that the dataset carries.
    pub fn begin(&mut self, is_marked: impl Fn(&str) -> bool, is_empty: bool) {
        for section in self.sections.iter_mut().filter(|section| section.state == State::Unknown) {
            section.is_marked = is_marked(&section.member);
            section.state = match () {
                () if section.is_marked => State::Owned { earlier: Earlier::OfBear, to_sweep: true },
                () if is_empty => State::Owned { earlier: Earlier::Others, to_sweep: false },
                () => State::Surveying(Tally::default()),
            };
        }
    }

    /// What a walk over the database is needed for.
    pub fn walk(&self) -> Option<Walk> {
        let any = |is: fn(&State) -> bool| self.sections.iter().any(|section| is(&section.state));
        match () {
            () if any(|state| matches!(state, State::Surveying(_))) => Some(Walk::Survey),
            () if any(|state| matches!(state, State::Owned { to_sweep: true, .. })) => Some(Walk::Sweep),
            () => None,
        }
    }

    /// Is this section being surveyed?
    pub fn is_surveying(&self, section: usize) -> bool {
        matches!(self.state(section), Some(State::Surveying(_)))
    }

    /// May a walk still find leftovers under its names?
    pub fn is_to_sweep(&self, section: usize) -> bool {
        matches!(self.state(section), Some(State::Owned { to_sweep: true, .. }))
    }

    fn state(&self, section: usize) -> Option<&State> {
        self.sections.get(section).map(|section| &section.state)
    }

    /// May the section store, and delete what it stored?
    pub fn is_owned(&self, section: usize) -> bool {
        matches!(self.state(section), Some(State::Owned { .. }))
    }

    /// Takes note of a key under the names of a section that is being surveyed.
    pub fn found(&mut self, section: usize, key: &[u8], look: Look) {
        let Some(Section { state: State::Surveying(tally), .. }) = self.sections.get_mut(section) else { return };
        match look {
            Look::Proof => tally.proof = true,
            Look::Blank => tally.blank = true,
            Look::Likely => tally.likely += 1,
            Look::Strange => tally.strange += 1,
        }
        if matches!(look, Look::Likely | Look::Strange) && tally.named.len() < NAMED {
            // What surely is somebody's tells more.
            let at = if look == Look::Strange { 0 } else { tally.named.len() };
            tally.named.insert(at, key.into());
        }
    }

    /// Of another node's dataset that came with its keys: a mark found on the way.
    pub fn found_mark(&mut self, member: &[u8]) {
        for section in self.sections.iter_mut().filter(|section| section.member.as_bytes() == member) {
            if matches!(section.state, State::Surveying(_)) {
                section.state = State::Owned { earlier: Earlier::OfBear, to_sweep: true };
                section.is_marked = true;
            }
        }
    }

    /// The survey is over. Returns the sections that turned out to be others'.
    pub fn surveyed(&mut self) -> Vec<usize> {
        let mut foreign = Vec::new();
        for (index, section) in self.sections.iter_mut().enumerate() {
            let State::Surveying(tally) = &mut section.state else { continue };
            section.state = match () {
                () if tally.strange > 0 || (tally.likely > 0 && !tally.proof) => {
                    foreign.push(index);
                    State::Foreign(std::mem::take(tally))
                }
                () if tally.proof => State::Owned { earlier: Earlier::OfBear, to_sweep: true },
                () => State::Owned { earlier: Earlier::Others, to_sweep: tally.blank },
            };
        }
        foreign
    }

    /// The sweep is over: what stands now under the names of owned sections and this life did not write is others'.
    pub fn swept(&mut self) {
        for section in &mut self.sections {
            if let State::Owned { to_sweep, earlier } = &mut section.state {
                (*to_sweep, *earlier) = (false, Earlier::Others);
            }
        }
    }

    /// What a sweep does with a key that this life did not write.
    pub fn verdict(&self, section: usize, look: Look) -> Verdict {
        match self.state(section) {
            Some(State::Owned { to_sweep: true, earlier: Earlier::Adopted }) => Verdict::Remove,
            Some(State::Owned { to_sweep: true, earlier: Earlier::OfBear }) if look != Look::Strange => Verdict::Remove,
            Some(State::Owned { .. }) => Verdict::Keep,
            _ => Verdict::Ignore,
        }
    }

    /// Where a key for which a section was refused has gone, the section is surveyed again. True: there is one.
    pub fn look_again(&mut self, is_gone: impl Fn(&[u8]) -> bool) -> bool {
        let mut any = false;
        for section in &mut self.sections {
            if let State::Foreign(tally) = &section.state {
                if tally.named.iter().any(|key| is_gone(key)) {
                    section.state = State::Surveying(Tally::default());
                    any = true;
                }
            }
        }
        any
    }

    /// BEAR.ADOPT: all that stands under the section's names counts as bear's.
    pub fn adopt(&mut self, section: usize) {
        if let Some(section) = self.sections.get_mut(section) {
            section.state = State::Owned { earlier: Earlier::Adopted, to_sweep: true };
        }
    }

    /// What an owned section is to be marked with before it stores something; none where all are.
    pub fn unmarked(&self) -> Vec<&str> {
        let is_due = |section: &&Section| !section.is_marked && matches!(section.state, State::Owned { .. });
        self.sections.iter().filter(is_due).map(|section| &*section.member).collect()
    }

    /// The marks of [`Self::unmarked`] are written.
    pub fn marked(&mut self) {
        for section in &mut self.sections {
            section.is_marked |= matches!(section.state, State::Owned { .. });
        }
    }

    /// Keys have come from another node of a cluster, where the section was marked as bear's, or was not: those that bear wrote are
    /// leftovers.
    pub fn came(&mut self, section: usize, is_marked: bool) {
        if let Some(Section { state: State::Owned { earlier, to_sweep }, .. }) = self.sections.get_mut(section) {
            if is_marked && *earlier == Earlier::Others {
                *earlier = Earlier::OfBear;
            }
            *to_sweep = true;
        }
    }

    pub fn member(&self, section: usize) -> Option<&str> {
        self.sections.get(section).map(|section| &*section.member)
    }

    /// Sections that are refused.
    pub fn refused(&self) -> usize {
        self.sections.iter().filter(|section| matches!(section.state, State::Foreign(_))).count()
    }

    /// Why the section is not served, and what can be done; without an error code. A tenant is told of no other's keys.
    pub fn refusal(&self, section: usize, name: &str, may_see: impl Fn(&[u8]) -> bool) -> Option<String> {
        let Some(State::Foreign(tally)) = self.state(section) else { return None };
        let named: Vec<String> =
            tally.named.iter().filter(|key| may_see(key)).map(|key| crate::core::values::value::shorten(key)).collect();
        let all = tally.strange + tally.likely;
        let keys = match all.saturating_sub(named.len() as u64) {
            0 => named.join(", "),
            all if named.is_empty() => format!("{all} of them, of which the server's log names some"),
            more => format!("{} and {more} more", named.join(", ")),
        };
        let hint = match tally.strange {
            0 => "; all of them look as an earlier version of bear may have left them, and if it did, BEAR.ADOPT is right",
            _ => "",
        };
        let is_of_queue = |key: &[u8]| is_of_queue(self.member(section).unwrap_or_default(), key);
        let (queues, others): (Vec<_>, Vec<_>) = tally.named.iter().partition(|key| is_of_queue(key));
        if others.is_empty() && queues.len() as u64 == all && !named.is_empty() {
            return Some(format!(
                "section '{name}' is not served, for keys that bear did not write stand where its queue's would: {keys}. Rename \
                 or delete them, give the section another name, or bear another database (bear.db); BEAR.ADOPT leaves keys of \
                 queues alone"
            ));
        }
        Some(format!(
            "section '{name}' is not served, for the database holds keys with names of its own that bear did not write: \
             {keys}. Give the section another name, bear another database (bear.db), or rename or delete the keys; BEAR.ADOPT \
             {name} removes its entries' and sets' keys, whoever wrote them{hint}"
        ))
    }
}

/// Names of sections, as marks have them: what the keys of all of its spaces begin with.
pub fn member_of(section: &str, has_tenant: bool, prefix: &[u8]) -> Box<str> {
    if has_tenant {
        format!("{{*}}:{section}").into()
    } else {
        String::from_utf8_lossy(prefix).into()
    }
}

/// Whether the key has the name of one of a queue of the section with that member.
fn is_of_queue(member: &str, key: &[u8]) -> bool {
    let rest = match member.strip_prefix("{*}:") {
        Some(section) => {
            let after = key.iter().position(|byte| *byte == b'}').map(|end| &key[end + 1..]);
            after.and_then(|rest| rest.strip_prefix(b":")?.strip_prefix(section.as_bytes()))
        }
        None => key.strip_prefix(member.as_bytes()),
    };
    rest.and_then(|rest| rest.strip_prefix(b":")).is_some_and(|part| classify(part) == KeyKind::Queue)
}

/// The name of the section that a mark is of: `bear` of `bear`, `{bear}`, `{*}:bear` or, of a group, `{shop}:bear`.
pub fn section_of(member: &str) -> &str {
    let member = member.split_once("}:").map_or(member, |(_, section)| section);
    member.trim_matches(['{', '}'])
}

/// Keys of others under names of owned sections, as far as they are known.
#[derive(Debug, Default)]
pub struct Strangers {
    keys: BTreeSet<Box<[u8]>>,
    /// There are more than are remembered.
    pub are_many: bool,
}

/// So many are remembered by name.
pub const MAX_STRANGERS: usize = 2_000;

impl Strangers {
    /// True where it is new.
    pub fn add(&mut self, key: &[u8]) -> bool {
        if self.keys.len() >= MAX_STRANGERS && !self.keys.contains(key) {
            self.are_many = true;
            return false;
        }
        self.keys.insert(key.into())
    }

    /// True where it was known.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.keys.remove(key)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.are_many
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Some of them from a name on.
    pub fn some(&self, after: Option<&[u8]>, count: usize) -> Vec<Box<[u8]>> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.keys.range::<[u8], _>((from, std::ops::Bound::Unbounded)).take(count).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
