//! In a cluster: the keys by which a master tells its replicas to serve nothing.
//!
//! Each master has one, in a slot that is its own: a key elsewhere it may not write. A replica obeys whichever stands in its dataset, for
//! that is what its master has, had before a failover, or was sent with a slot.
//!
//! ```text
//!           raise, in an owned slot           lower: nothing is being removed any more
//!   (none) ------------------------> stands ------------------------------------------> (none)
//!                                      |  its slot leaves: another one is raised in a slot that stays
//!                                      '-> comes to another master, which removes it once the slot is its own
//! ```
//! Invariant: a key is written and removed only in a slot that was seen to be this node's in the same callback. One that a failover has
//! left in another's slot nobody can remove: they have a TTL, which is renewed while they are needed.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::unsettled::Seen;

const SLOTS: usize = 16_384;

/// What the keys are called beside their tag.
const BEFORE_TAG: &[u8] = b"bear.module:{";
const AFTER_TAG: &[u8] = b"}:cold";

/// Looks for an owned slot in one step, and keys that are looked for: some 0.05 ms.
const LOOKS: usize = 64;

/// For each slot the least number whose decimal is in it, by itself or between braces: whatever a slot is called by, it is that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tags(Rc<[u32]>);

impl Tags {
    pub fn of_all_slots() -> Tags {
        let mut seen = vec![false; SLOTS];
        let mut tags = Vec::with_capacity(SLOTS);
        let mut number = 0;
        while tags.len() < SLOTS {
            let seen = &mut seen[usize::from(slot_of(number.to_string().as_bytes()))];
            if !std::mem::replace(seen, true) {
                tags.push(number);
            }
            number += 1;
        }
        Tags(tags.into())
    }

    #[cfg(test)]
    pub fn some(numbers: &[u32]) -> Tags {
        Tags(numbers.into())
    }

    fn name(&self, at: usize) -> Box<[u8]> {
        [BEFORE_TAG, self.0[at].to_string().as_bytes(), AFTER_TAG].concat().into()
    }
}

/// The slot of what is hashed as a whole: its CRC-16 (XMODEM), of which the low 14 bits count.
fn slot_of(tag: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
    }
    crc % SLOTS as u16
}

/// Is it the name of such a key?
pub fn is_tombstone(key: &[u8]) -> bool {
    let number = key.strip_prefix(BEFORE_TAG).and_then(|rest| rest.strip_suffix(AFTER_TAG));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// The tag of such a name, with its braces.
fn tag_of_name(name: &[u8]) -> &[u8] {
    &name[BEFORE_TAG.len() - 1..name.len() - AFTER_TAG.len() + 1]
}

/// What is to be done for a master's tombstone to stand, or for none to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// None stands.
    Done,
    /// This one does, in a slot of this node's.
    Stands(Box<[u8]>),
    Put(Box<[u8]>),
    Remove(Vec<Box<[u8]>>),
    /// No owned slot is known yet; more are to be looked at.
    Searching,
    /// The cluster is down, no slot is this node's, or what stands is in one that is on its way.
    Later,
}

/// What a node knows of such keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tombstones {
    tags: Tags,
    /// Names of those that stand in the dataset.
    standing: BTreeSet<Box<[u8]>>,
    /// Of a dataset that came as a whole: at which tag the look has come.
    look: Option<usize>,
    /// The tag in an owned slot, when it was last looked at; or that at which the search is.
    at: usize,
    /// Tags that were looked at in vain since one was found.
    in_vain: usize,
}

impl Tombstones {
    pub fn new(tags: Tags) -> Tombstones {
        Tombstones { tags, standing: BTreeSet::new(), look: Some(0), at: 0, in_vain: 0 }
    }

    /// Does a replica serve nothing?
    pub fn is_cold(&self) -> bool {
        self.look.is_some() || !self.standing.is_empty()
    }

    /// A key has been written or removed, by whomever.
    pub fn heard(&mut self, name: &[u8], stands: bool) {
        match stands {
            true => drop(self.standing.insert(name.into())),
            false => drop(self.standing.remove(name)),
        }
    }

    /// The dataset has no key.
    pub fn emptied(&mut self) {
        self.standing.clear();
        self.look = None;
    }

    /// The dataset is another: until it has been looked at, nothing in it counts.
    pub fn look_anew(&mut self) {
        self.standing.clear();
        self.look = Some(0);
    }

    /// Looks for some of the names that there may be. True when some are left.
    pub fn look(&mut self, exists: impl Fn(&[u8]) -> bool) -> bool {
        let Some(from) = self.look else { return false };
        let until = (from + LOOKS).min(self.tags.0.len());
        self.standing.extend((from..until).map(|at| self.tags.name(at)).filter(|name| exists(name)));
        self.look = (until < self.tags.0.len()).then_some(until);
        self.look.is_some()
    }

    /// Does any stand?
    pub fn is_any(&self) -> bool {
        !self.standing.is_empty()
    }

    /// One is to stand. `seen` says whose the slot of a tag is.
    pub fn raise(&mut self, mut seen: impl FnMut(&[u8]) -> Seen) -> Step {
        for _ in 0..LOOKS.min(self.tags.0.len()) {
            let name = self.tags.name(self.at);
            match seen(tag_of_name(&name)) {
                Seen::Here => {
                    self.in_vain = 0;
                    return if self.standing.contains(&name) { Step::Stands(name) } else { Step::Put(name) };
                }
                Seen::Unknown => return Step::Later,
                Seen::Elsewhere { .. } => {
                    self.at = (self.at + 1) % self.tags.0.len();
                    self.in_vain += 1;
                }
            }
            if self.in_vain >= self.tags.0.len() {
                self.in_vain = 0;
                return Step::Later;
            }
        }
        Step::Searching
    }

    /// None is to stand: of this node's, of one that was its master, or that came with a slot.
    pub fn lower(&self, mut seen: impl FnMut(&[u8]) -> Seen) -> Step {
        if self.standing.is_empty() {
            return Step::Done;
        }
        let some = self.standing.iter().take(LOOKS);
        let here: Vec<Box<[u8]>> = some.filter(|name| seen(tag_of_name(name)) == Seen::Here).cloned().collect();
        if here.is_empty() {
            Step::Later
        } else {
            Step::Remove(here)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::slots::tag::tag_of;

    #[test]
    fn a_tag_is_in_the_slot_that_redis_says() {
        // CLUSTER KEYSLOT of each.
        for (tag, slot) in [("", 0), ("0", 13_907), ("123456789", 12_739), ("bear", 8943), ("foo", 12_182)] {
            assert_eq!(slot_of(tag.as_bytes()), slot, "{tag}");
        }
    }

    #[test]
    fn each_slot_has_one_name() {
        let tags = Tags::of_all_slots();
        let slots: BTreeSet<u16> = tags.0.iter().map(|number| slot_of(number.to_string().as_bytes())).collect();
        assert_eq!((tags.0.len(), slots.len()), (SLOTS, SLOTS));
        assert_eq!(&*tags.name(1), b"bear.module:{1}:cold");
        assert_eq!(tag_of_name(&tags.name(1)), b"{1}");
        for at in [0, SLOTS / 2, SLOTS - 1] {
            assert!(is_tombstone(&tags.name(at)));
        }
    }

    #[test]
    fn other_keys_are_none() {
        let others = ["bear.module:cold", "bear.module:{1}", "bear.module:{}:cold", "bear.module:{x}:cold", "{1}:cold"];
        for key in others {
            assert!(!is_tombstone(key.as_bytes()), "{key}");
        }
        assert_eq!(tag_of(b"{1}"), b"{1}");
    }

    #[test]
    fn a_node_of_one_slot_finds_its_tag_in_steps() {
        let mut tombstones = Tombstones::new(Tags::of_all_slots());
        let own = tombstones.tags.name(SLOTS - 1);
        let seen = |tag: &[u8]| if tag == tag_of_name(&own) { Seen::Here } else { Seen::Elsewhere { keys: 0 } };
        let steps: Vec<Step> = (0..SLOTS / LOOKS).map(|_| tombstones.raise(seen)).collect();
        assert!(steps[..steps.len() - 1].iter().all(|step| *step == Step::Searching));
        assert_eq!(steps.last(), Some(&Step::Put(own.clone())));
        tombstones.heard(&own, true);
        assert_eq!(tombstones.raise(seen), Step::Stands(own.clone()));
        // The next time it is known.
        tombstones.heard(&own, false);
        assert_eq!(tombstones.raise(seen), Step::Put(own));
    }

    #[test]
    fn a_node_without_a_slot_gives_up_and_may_try_again() {
        let mut tombstones = Tombstones::new(Tags::some(&[1, 2, 3]));
        for _ in 0..3 {
            assert_eq!(tombstones.raise(|_| Seen::Elsewhere { keys: 0 }), Step::Later);
            assert_eq!(tombstones.raise(|_| Seen::Unknown), Step::Later);
        }
    }

    #[test]
    fn until_a_dataset_has_been_looked_at_nothing_in_it_is_served() {
        let mut tombstones = Tombstones::new(Tags::of_all_slots());
        let own = tombstones.tags.name(SLOTS - 1);
        let mut steps = 0;
        while tombstones.look(|name| name == &*own) {
            assert!(tombstones.is_cold());
            steps += 1;
        }
        assert_eq!(steps, SLOTS / LOOKS - 1);
        assert!(tombstones.is_cold());
        tombstones.heard(&own, false);
        assert!(!tombstones.is_cold());
    }
}
