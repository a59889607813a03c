//! A walk over ordered keys that goes on where the one before it stopped, and round once at most: so that all keys get
//! their turn, though each walk looks at a few.

use super::index::Key;

#[derive(Debug)]
pub struct Walk {
    /// Where it began: after this key.
    start: Option<Key>,
    /// The last key that it came to.
    at: Option<Key>,
    is_round: bool,
    /// Keys that it may still come to.
    left: u64,
}

impl Walk {
    /// Comes to at most `count` keys, those after `start` first.
    pub fn new(start: Option<Key>, count: u64) -> Walk {
        Walk { at: start.clone(), start, is_round: false, left: count }
    }

    /// The next key. `after` tells the first key after another, or the first of all.
    pub fn next(&mut self, after: impl Fn(Option<&[u8]>) -> Option<Key>) -> Option<Key> {
        if self.left == 0 {
            return None;
        }
        let mut found = after(self.at.as_deref());
        if found.is_none() && !self.is_round && self.start.is_some() {
            self.is_round = true;
            found = after(None);
        }
        let is_new = |key: &Key| !self.is_round || self.start.as_ref().is_some_and(|start| key <= start);
        let Some(key) = found.filter(is_new) else {
            self.left = 0;
            return None;
        };
        self.left -= 1;
        self.at = Some(key.clone());
        Some(key)
    }

    /// Where the next walk goes on.
    pub fn stopped_at(self) -> Option<Key> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a walk over these keys comes to, and where it stopped.
    fn walk(keys: &[&str], start: Option<&str>, count: u64) -> (String, Option<String>) {
        let after = |key: Option<&[u8]>| {
            let later = keys.iter().find(|later| key.is_none_or(|key| later.as_bytes() > key));
            later.map(|later| later.as_bytes().into())
        };
        let mut walk = Walk::new(start.map(|start| start.as_bytes().into()), count);
        let mut seen = Vec::new();
        while let Some(key) = walk.next(after) {
            seen.push(String::from_utf8(key.to_vec()).unwrap());
        }
        assert!(walk.next(after).is_none(), "it has ended");
        (seen.concat(), walk.stopped_at().map(|key| String::from_utf8(key.to_vec()).unwrap()))
    }

    #[test]
    fn walks() {
        let keys = ["a", "b", "c", "d"];
        for (start, count, seen) in [
            (None, 2, "ab"),
            (None, 9, "abcd"),
            (Some("b"), 9, "cdab"),
            (Some("b"), 3, "cda"),
            (Some("d"), 2, "ab"),
            // What it stopped at may be gone.
            (Some("bb"), 9, "cdab"),
            (Some("x"), 1, "a"),
            (None, 0, ""),
        ] {
            let (found, at) = walk(&keys, start, count);
            assert_eq!(found, seen, "{start:?} {count}");
            let last = seen.chars().last().map(String::from).or(start.map(str::to_owned));
            assert_eq!(at, last, "{start:?} {count}");
        }
        assert_eq!(walk(&[], Some("a"), 5), (String::new(), Some("a".into())));
        assert_eq!(walk(&["a"], Some("a"), 5).0, "a");
    }

    #[test]
    fn walks_one_after_the_other_give_all_keys_the_same_share() {
        let keys = ["a", "b", "c", "d", "e", "f", "g"];
        let (mut at, mut seen) = (None, String::new());
        for _ in 0..21 {
            let (found, stop) = walk(&keys, at.as_deref(), 3);
            seen += &found;
            at = stop;
        }
        for key in keys {
            assert_eq!(seen.matches(key).count(), 9, "{key}");
        }
    }
}
