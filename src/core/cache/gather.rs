//! Replies that are put together from parts which come in any order: slots, and when none of them is open any more.
//!
//! Invariants: what a slot was filled with first stays; a slot that is the same as another one has that one's value in the end,
//! whenever that comes; it is done exactly when no slot is open.

/// Slots of values.
#[derive(Debug)]
pub struct Gather<T> {
    slots: Vec<Slot<T>>,
    open: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Open,
    Filled(T),
    /// As the earlier slot of this number, which is not the same as another itself.
    Same(usize),
}

impl<T: Clone> Gather<T> {
    /// All of its slots are open.
    pub fn new(slots: usize) -> Gather<T> {
        Gather { slots: std::iter::repeat_with(|| Slot::Open).take(slots).collect(), open: slots }
    }

    /// Fills a slot, if it is open and there.
    pub fn fill(&mut self, at: usize, value: T) {
        self.settle(at, Slot::Filled(value));
    }

    /// The slot will have the value of an earlier one.
    pub fn same_as(&mut self, at: usize, earlier: usize) {
        debug_assert!(earlier < at, "{earlier} is not before {at}");
        let first = match self.slots.get(earlier) {
            Some(Slot::Same(first)) => *first,
            _ => earlier,
        };
        self.settle(at, Slot::Same(first));
    }

    /// Fills what is open.
    pub fn fill_open(&mut self, value: &T) {
        for slot in self.slots.iter_mut().filter(|slot| matches!(slot, Slot::Open)) {
            *slot = Slot::Filled(value.clone());
        }
        self.open = 0;
    }

    fn settle(&mut self, at: usize, to: Slot<T>) {
        if let Some(slot @ Slot::Open) = self.slots.get_mut(at) {
            *slot = to;
            self.open -= 1;
        }
    }

    /// Is no slot open?
    pub fn is_done(&self) -> bool {
        self.open == 0
    }

    /// The values in the order of the slots; None where one is open.
    pub fn into_values(self) -> Option<Vec<T>> {
        let mut values: Vec<T> = Vec::with_capacity(self.slots.len());
        for slot in self.slots {
            let value = match slot {
                Slot::Filled(value) => value,
                Slot::Same(earlier) => values.get(earlier)?.clone(),
                Slot::Open => return None,
            };
            values.push(value);
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_done_at_once() {
        let gather: Gather<u8> = Gather::new(0);
        assert!(gather.is_done());
        assert_eq!(gather.into_values(), Some(Vec::new()));
    }

    #[test]
    fn the_first_value_of_a_slot_stays() {
        let mut gather = Gather::new(2);
        gather.fill(1, "b");
        gather.fill(1, "c");
        gather.fill(2, "there is no such slot");
        assert!(!gather.is_done());
        gather.fill(0, "a");
        assert!(gather.is_done());
        assert_eq!(gather.into_values(), Some(vec!["a", "b"]));
    }

    #[test]
    fn the_same_slot_waits_for_the_earlier_one() {
        let mut gather = Gather::new(4);
        gather.same_as(1, 0);
        gather.same_as(2, 1);
        gather.fill(3, "d");
        gather.fill(2, "too late");
        assert!(!gather.is_done(), "the earlier one is open");
        gather.fill(0, "a");
        assert!(gather.is_done());
        assert_eq!(gather.into_values(), Some(vec!["a", "a", "a", "d"]));
    }

    #[test]
    fn what_is_open_may_be_filled_at_once() {
        let mut gather = Gather::new(4);
        gather.fill(1, "b");
        gather.same_as(2, 0);
        gather.fill_open(&"late");
        assert!(gather.is_done());
        assert_eq!(gather.into_values(), Some(vec!["late", "b", "late", "late"]));
    }

    proptest! {
        /// Slots are filled in any order, some twice, some as another: done is when each was, and each has what it got first.
        #[test]
        fn any_order_gives_the_same_values(
            (slots, steps) in (1usize..20).prop_flat_map(|slots| {
                (Just(slots), prop::collection::vec((0..slots, prop::option::of(0..slots), 0u16..1000), 0..60))
            }),
        ) {
            let mut gather = Gather::new(slots);
            let mut expected: Vec<Option<Result<u16, usize>>> = vec![None; slots];
            for (at, earlier, value) in steps {
                match earlier.filter(|earlier| *earlier < at) {
                    Some(earlier) => {
                        gather.same_as(at, earlier);
                        expected[at] = expected[at].or(Some(Err(earlier)));
                    }
                    None => {
                        gather.fill(at, value);
                        expected[at] = expected[at].or(Some(Ok(value)));
                    }
                }
                prop_assert_eq!(gather.is_done(), expected.iter().all(Option::is_some));
            }
            let mut values: Vec<Option<u16>> = Vec::new();
            for slot in &expected {
                values.push(match slot {
                    Some(Ok(value)) => Some(*value),
                    Some(Err(earlier)) => values[*earlier],
                    None => None,
                });
            }
            let all: Option<Vec<u16>> = values.into_iter().collect();
            let is_done = gather.is_done();
            prop_assert_eq!(gather.into_values(), all.filter(|_| is_done));
        }
    }
}
