//! Spaces that rest because their slot is not this node's, or not yet, or not for much longer.
//!
//! Invariant: a space that rests is neither read nor written until a look finds its slot owned; what happened to its keys meanwhile is
//! kept as one word, and never looked at half way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::tag::tag_of;

/// What the server says of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Owned, and on its way to nobody.
    Here,
    /// Migrating, importing or another node's; so many keys of it are here.
    Elsewhere { keys: u64 },
    /// The cluster is down, or does not say.
    Unknown,
}

/// What another hand did to a space's keys while it rested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Of its queues, schedules or locks.
    Jobs,
    Entries,
}

/// Spaces of one tag that rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resting {
    /// By the prefixes of their keys.
    pub spaces: BTreeSet<Box<[u8]>>,
    pub jobs_touched: bool,
    pub entries_touched: bool,
}

/// What a look at a slot means for the spaces that rest there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Rests,
    /// The slot is this node's: they go on as they are.
    GoesOn(Resting),
    /// The same, with keys that are others by now: they are read anew.
    Came(Resting),
    /// It is another node's, and nothing of it is left here.
    Gone(Resting),
}

#[derive(Debug, Clone, Default)]
pub struct Unsettled {
    by_tag: BTreeMap<Box<[u8]>, Resting>,
    looked_at: Option<Box<[u8]>>,
}

impl Unsettled {
    pub fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub fn clear(&mut self) {
        *self = Unsettled::default();
    }

    /// Does the space rest? A prefix of its keys, or one of these.
    pub fn rests(&self, prefix: &[u8]) -> bool {
        !self.by_tag.is_empty() && self.by_tag.contains_key(tag_of(prefix))
    }

    /// A look has found that the slot is not this node's: its spaces rest, this one among them.
    pub fn rest(&mut self, prefix: &[u8]) {
        self.of(prefix).spaces.insert(prefix.into());
    }

    /// Another hand has touched keys of a space that rests.
    pub fn touch(&mut self, prefix: &[u8], what: Touched) {
        let resting = self.of(prefix);
        resting.spaces.insert(prefix.into());
        match what {
            Touched::Jobs => resting.jobs_touched = true,
            Touched::Entries => resting.entries_touched = true,
        }
    }

    fn of(&mut self, prefix: &[u8]) -> &mut Resting {
        self.by_tag.entry(tag_of(prefix).into()).or_default()
    }

    /// The tag that is to be looked at next: all have their turn.
    pub fn next(&mut self) -> Option<Box<[u8]>> {
        let after = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.by_tag.range::<Box<[u8]>, _>((after, Bound::Unbounded));
        let next = rest.next().or_else(|| self.by_tag.first_key_value()).map(|(tag, _)| tag.clone());
        self.looked_at.clone_from(&next);
        next
    }

    /// What was seen of a tag's slot.
    pub fn look(&mut self, tag: &[u8], seen: Seen) -> Turn {
        let ends = matches!(seen, Seen::Here | Seen::Elsewhere { keys: 0 });
        let Some(resting) = (if ends { self.by_tag.remove(tag) } else { None }) else { return Turn::Rests };
        match seen {
            Seen::Here if resting.jobs_touched || resting.entries_touched => Turn::Came(resting),
            Seen::Here => Turn::GoesOn(resting),
            Seen::Elsewhere { .. } | Seen::Unknown => Turn::Gone(resting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(spaces: &[&str]) -> Resting {
        Resting { spaces: spaces.iter().map(|space| space.as_bytes().into()).collect(), ..Resting::default() }
    }

    #[test]
    fn a_space_rests_until_its_slot_is_owned_or_empty() {
        let mut unsettled = Unsettled::default();
        assert_eq!(unsettled.look(b"{7}", Seen::Here), Turn::Rests);
        unsettled.rest(b"{7}:shop");
        unsettled.rest(b"{7}:cart");
        assert!(unsettled.rests(b"{7}:any") && !unsettled.rests(b"{8}:shop"));
        for seen in [Seen::Unknown, Seen::Elsewhere { keys: 3 }] {
            assert_eq!(unsettled.look(b"{7}", seen), Turn::Rests);
        }
        assert_eq!(unsettled.look(b"{7}", Seen::Here), Turn::GoesOn(resting(&["{7}:cart", "{7}:shop"])));
        assert!(unsettled.is_empty());
        unsettled.rest(b"{7}:shop");
        assert_eq!(unsettled.look(b"{7}", Seen::Elsewhere { keys: 0 }), Turn::Gone(resting(&["{7}:shop"])));
    }

    #[test]
    fn what_was_touched_meanwhile_is_read_anew() {
        let mut unsettled = Unsettled::default();
        unsettled.touch(b"{bear}", Touched::Entries);
        let Turn::Came(came) = unsettled.look(b"{bear}", Seen::Here) else { panic!("it came") };
        assert!(came.entries_touched && !came.jobs_touched);
        unsettled.rest(b"{bear}");
        unsettled.touch(b"{bear}", Touched::Jobs);
        assert!(matches!(unsettled.look(b"{bear}", Seen::Here), Turn::Came(_)));
    }

    #[test]
    fn all_tags_have_their_turn() {
        let mut unsettled = Unsettled::default();
        assert_eq!(unsettled.next(), None);
        for space in ["{a}", "{b}", "{c}"] {
            unsettled.rest(space.as_bytes());
        }
        let turns: Vec<_> = (0..4).filter_map(|_| unsettled.next()).collect();
        assert_eq!(turns.iter().map(|tag| tag[1]).collect::<Vec<_>>(), b"abca");
    }
}
