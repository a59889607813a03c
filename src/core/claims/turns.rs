//! Spaces of one section take turns: whoever claims from the section as such gets a job of each space that has one, one after
//! the other, so that the million jobs of one tenant do not delay the one of another. A space that has nothing costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Spaces in the order of their turns, for each section and type; None: any type.
#[derive(Debug, Default)]
pub struct Turns {
    /// By the number with which they joined.
    rings: BTreeMap<Ring, BTreeMap<u64, Arc<str>>>,
    /// Who is in which ring, once each, and as which number.
    members: BTreeMap<(Arc<str>, Ring), u64>,
    joined: u64,
}

type Ring = (Arc<str>, Option<Arc<str>>);

impl Turns {
    /// The space has a job of the type that could be claimed; it is last in the line, unless it stands there already.
    pub fn join(&mut self, section: &Arc<str>, name: Option<&Arc<str>>, space: &Arc<str>) {
        let ring: Ring = (section.clone(), name.cloned());
        let member = (space.clone(), ring);
        if self.members.contains_key(&member) {
            return;
        }
        self.joined += 1;
        self.rings.entry(member.1.clone()).or_default().insert(self.joined, space.clone());
        self.members.insert(member, self.joined);
    }

    /// Whose turn it is, of who has jobs of one of these types; none: of any. It leaves their lines; who has something more to
    /// give joins them again.
    pub fn next(&mut self, section: &Arc<str>, names: &[Arc<str>]) -> Option<Arc<str>> {
        let any = names.is_empty().then_some(None);
        let rings: Vec<Ring> =
            any.into_iter().chain(names.iter().map(Some)).map(|name| (section.clone(), name.cloned())).collect();
        let firsts = rings.iter().filter_map(|ring| self.rings.get(ring)?.first_key_value());
        let space = firsts.min_by_key(|(number, _)| **number).map(|(_, space)| space.clone())?;
        rings.into_iter().for_each(|ring| self.leave(&space, ring));
        Some(space)
    }

    fn leave(&mut self, space: &Arc<str>, ring: Ring) {
        let member = (space.clone(), ring);
        let Some(number) = self.members.remove(&member) else { return };
        let Some(line) = self.rings.get_mut(&member.1) else { return };
        line.remove(&number);
        if line.is_empty() {
            self.rings.remove(&member.1);
        }
    }

    pub fn clear(&mut self) {
        *self = Turns::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spaces_take_turns() {
        let [section, a, b, sms] = ["mail", "{a}:mail", "{b}:mail", "SMS"].map(Arc::<str>::from);
        let mut turns = Turns::default();
        turns.join(&section, None, &a);
        turns.join(&section, None, &b);
        turns.join(&section, None, &a);
        turns.join(&section, Some(&sms), &b);
        assert_eq!(turns.next(&section, &[]), Some(a.clone()));
        turns.join(&section, None, &a);
        assert_eq!(turns.next(&section, &[]), Some(b.clone()));
        assert_eq!(turns.next(&section, &[]), Some(a));
        assert_eq!(turns.next(&section, &[]), None);
        assert_eq!(turns.next(&section, &[sms]), Some(b));
        assert!(turns.rings.is_empty() && turns.members.is_empty());
    }

    #[test]
    fn who_wants_several_types_goes_round_the_spaces_of_all_of_them() {
        let [section, a, b, sms, call] = ["mail", "{a}:mail", "{b}:mail", "SMS", "CALL"].map(Arc::<str>::from);
        let mut turns = Turns::default();
        let both = [sms.clone(), call.clone()];
        turns.join(&section, Some(&sms), &a);
        turns.join(&section, Some(&call), &b);
        turns.join(&section, Some(&call), &a);
        assert_eq!(turns.next(&section, &both), Some(a.clone()));
        turns.join(&section, Some(&sms), &a);
        turns.join(&section, Some(&call), &a);
        assert_eq!(turns.next(&section, &both), Some(b), "a has had its turn, whatever it has more");
        assert_eq!(turns.next(&section, &both), Some(a));
        assert_eq!(turns.next(&section, &both), None);
        assert!(turns.rings.is_empty() && turns.members.is_empty());
    }

    proptest! {
        /// Against one list of all who stand in any line, in the order in which they came.
        #[test]
        fn turns_are_those_of_a_plain_list(
            steps in prop::collection::vec((any::<bool>(), 0_usize..2, 0_usize..3, 0_u8..4, 0_usize..4), 0..80)
        ) {
            let sections: [Arc<str>; 2] = ["mail", "post"].map(Arc::from);
            let names: [Arc<str>; 2] = ["SMS", "CALL"].map(Arc::from);
            let spaces: [Arc<str>; 4] = ["a", "b", "c", "d"].map(Arc::from);
            let kinds = [None, Some(&names[0]), Some(&names[1])];
            let (mut turns, mut list) = (Turns::default(), Vec::new());
            for (joins, section, kind, wants, space) in steps {
                if joins {
                    turns.join(&sections[section], kinds[kind], &spaces[space]);
                    if !list.contains(&(section, kind, space)) {
                        list.push((section, kind, space));
                    }
                    continue;
                }
                let wanted: Vec<usize> = (1..3).filter(|kind| wants & (1 << (kind - 1)) != 0).collect();
                let of_names: Vec<_> = wanted.iter().map(|kind| names[kind - 1].clone()).collect();
                let wanted = if wanted.is_empty() { vec![0] } else { wanted };
                let is_wanted = |of: &(usize, usize, usize)| of.0 == section && wanted.contains(&of.1);
                let first = list.iter().find(|of| is_wanted(of)).map(|(.., space)| *space);
                prop_assert_eq!(turns.next(&sections[section], &of_names), first.map(|at| spaces[at].clone()));
                list.retain(|of| !(is_wanted(of) && Some(of.2) == first));
            }
            prop_assert_eq!(turns.members.len(), list.len());
            prop_assert_eq!(turns.rings.values().map(BTreeMap::len).sum::<usize>(), list.len());
            prop_assert!(turns.rings.values().all(|line| !line.is_empty()));
        }
    }
}
