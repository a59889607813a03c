//! Cuts a batch into waves: jobs that one statement applies together.
//!
//! The waves run in their order. Two jobs that share a key are in different waves, the earlier one in the earlier wave,
//! so that each row sees its jobs in the order in which they were enqueued; a barrier is alone in its wave, after all
//! before it and before all after it. Between them as few waves as a greedy choice makes.

use rustc_hash::FxHashMap;

/// A job, as far as the cut is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// Which statement applies it.
    pub kind: u32,
    /// Its order values; one given twice counts once.
    pub keys: &'a [u64],
    pub barrier: bool,
}

/// Jobs of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    pub kind: u32,
    /// Indices of the items, ascending.
    pub items: Vec<usize>,
}

/// Each item in the earliest wave of its kind that its keys and the barriers allow. Time is linear in the items and keys, but
/// for a search among the waves of the kind.
pub fn plan(items: &[Item<'_>]) -> Vec<Wave> {
    let mut waves: Vec<Wave> = Vec::new();
    // Waves of each kind since the last barrier, ascending.
    let mut of_kind: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
    // The last wave since the last barrier that holds the key.
    let mut last: FxHashMap<u64, usize> = FxHashMap::default();
    for (index, item) in items.iter().enumerate() {
        if item.barrier {
            waves.push(Wave { kind: item.kind, items: vec![index] });
            of_kind.clear();
            last.clear();
            continue;
        }
        let first_allowed = item.keys.iter().filter_map(|key| last.get(key)).max().map_or(0, |wave| wave + 1);
        let candidates = of_kind.entry(item.kind).or_default();
        let at = match candidates.get(candidates.partition_point(|wave| *wave < first_allowed)) {
            Some(wave) => *wave,
            None => {
                waves.push(Wave { kind: item.kind, items: Vec::new() });
                candidates.push(waves.len() - 1);
                waves.len() - 1
            }
        };
        waves[at].items.push(index);
        last.extend(item.keys.iter().map(|key| (*key, at)));
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (u32, Vec<u64>, bool);

    fn cut(items: &[Owned]) -> Vec<Wave> {
        let items: Vec<Item> =
            items.iter().map(|(kind, keys, barrier)| Item { kind: *kind, keys, barrier: *barrier }).collect();
        plan(&items)
    }

    #[test]
    fn batches_are_cut_as_drawn() {
        let job = |kind, keys: &[u64]| (kind, keys.to_vec(), false);
        for (items, expected) in [
            (vec![], vec![]),
            (vec![job(1, &[5]), job(1, &[6])], vec![(1, vec![0, 1])]),
            (vec![job(1, &[5]), job(1, &[5])], vec![(1, vec![0]), (1, vec![1])]),
            // The rename of 6 joins the first wave, past the resize of 5 that it does not concern.
            (vec![job(1, &[5]), job(2, &[5]), job(1, &[6])], vec![(1, vec![0, 2]), (2, vec![1])]),
            // It may not where it comes after a job of its row in a later wave.
            (vec![job(1, &[5]), job(2, &[6]), job(1, &[6])], vec![(1, vec![0]), (2, vec![1]), (1, vec![2])]),
            // A transfer waits for both accounts.
            (
                vec![job(1, &[1, 2]), job(1, &[2, 3]), job(1, &[3, 4]), job(1, &[5, 5])],
                vec![(1, vec![0, 3]), (1, vec![1]), (1, vec![2])],
            ),
            (
                vec![job(1, &[]), (1, vec![], true), job(1, &[]), job(1, &[])],
                vec![(1, vec![0]), (1, vec![1]), (1, vec![2, 3])],
            ),
        ] {
            let cut: Vec<_> = cut(&items).into_iter().map(|wave| (wave.kind, wave.items)).collect();
            assert_eq!(cut, expected, "{items:?}");
        }
    }

    fn batch() -> impl Strategy<Value = Vec<Owned>> {
        let item = (0u32..4, prop::collection::vec(0u64..12, 0..4), prop::bool::weighted(0.05));
        prop::collection::vec(item, 0..80)
    }

    proptest! {
        #[test]
        fn nothing_is_dropped_or_doubled(items in batch()) {
            let mut all: Vec<usize> = cut(&items).into_iter().flat_map(|wave| wave.items).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..items.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_wave_is_of_one_kind_and_never_empty(items in batch()) {
            for wave in cut(&items) {
                prop_assert!(!wave.items.is_empty());
                prop_assert!(wave.items.iter().all(|index| items[*index].0 == wave.kind));
                prop_assert!(wave.items.is_sorted());
            }
        }

        #[test]
        fn items_that_share_a_key_keep_their_order(items in batch()) {
            let mut place = vec![0; items.len()];
            for (at, wave) in cut(&items).iter().enumerate() {
                wave.items.iter().for_each(|index| place[*index] = at);
            }
            for (later, (_, keys, barrier)) in items.iter().enumerate() {
                for (earlier, (_, others, other_barrier)) in items[..later].iter().enumerate() {
                    if *barrier || *other_barrier || keys.iter().any(|key| others.contains(key)) {
                        prop_assert!(place[earlier] < place[later], "{earlier} and {later}");
                    }
                }
            }
        }

        #[test]
        fn what_shares_nothing_needs_one_wave_a_kind(kinds in prop::collection::vec(0u32..5, 0..60)) {
            let items: Vec<Owned> = kinds.iter().enumerate().map(|(i, kind)| (*kind, vec![i as u64], false)).collect();
            let mut seen: Vec<u32> = cut(&items).iter().map(|wave| wave.kind).collect();
            seen.sort_unstable();
            prop_assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
            prop_assert!(kinds.iter().all(|kind| seen.contains(kind)));
        }
    }
}
