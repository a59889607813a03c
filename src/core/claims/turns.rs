//! Spaces of one section take turns: whoever claims from the section as such gets a job of each space that has one, one after
//! the other, so that the million jobs of one tenant do not delay the one of another. A space that has nothing costs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Spaces in the order of their turns, for each section and type; None: any type.
#[derive(Debug, Default)]
pub struct Turns {
    rings: BTreeMap<Ring, VecDeque<Arc<str>>>,
    /// Who is in which ring, once each.
    members: BTreeSet<(Arc<str>, Ring)>,
}

type Ring = (Arc<str>, Option<Arc<str>>);

impl Turns {
    /// The space has a job of the type that could be claimed; it is last in the line, unless it stands there already.
    pub fn join(&mut self, section: &Arc<str>, name: Option<&Arc<str>>, space: &Arc<str>) {
        let ring: Ring = (section.clone(), name.cloned());
        if self.members.insert((space.clone(), ring.clone())) {
            self.rings.entry(ring).or_default().push_back(space.clone());
        }
    }

    /// Whose turn it is. It leaves the line; who has something more to give joins it again.
    pub fn next(&mut self, section: &Arc<str>, name: Option<&Arc<str>>) -> Option<Arc<str>> {
        let ring: Ring = (section.clone(), name.cloned());
        let line = self.rings.get_mut(&ring)?;
        let space = line.pop_front();
        if line.is_empty() {
            self.rings.remove(&ring);
        }
        let space = space?;
        self.members.remove(&(space.clone(), ring));
        Some(space)
    }

    pub fn clear(&mut self) {
        *self = Turns::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_take_turns() {
        let [section, a, b, sms] = ["mail", "{a}:mail", "{b}:mail", "SMS"].map(Arc::<str>::from);
        let mut turns = Turns::default();
        turns.join(&section, None, &a);
        turns.join(&section, None, &b);
        turns.join(&section, None, &a);
        turns.join(&section, Some(&sms), &b);
        assert_eq!(turns.next(&section, None), Some(a.clone()));
        turns.join(&section, None, &a);
        assert_eq!(turns.next(&section, None), Some(b.clone()));
        assert_eq!(turns.next(&section, None), Some(a));
        assert_eq!(turns.next(&section, None), None);
        assert_eq!(turns.next(&section, Some(&sms)), Some(b));
        assert!(turns.rings.is_empty() && turns.members.is_empty());
    }
}
