//! Has a slot been elsewhere since it was last looked? Of one in which there is no key nobody tells: it leaves, another node is told of
//! a change, it comes back, and what was fetched before would be stored.
//!
//! Whoever takes a slot over from another node takes an epoch above all that it knows, and says so at once. So a slot that has left and
//! come back has changed the epochs that this node knows, its own or the greatest.

/// What CLUSTER INFO says of epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Of this node's slots.
    pub own: u64,
    /// The greatest of the cluster.
    pub greatest: u64,
}

impl Known {
    pub fn parse(info: &[u8]) -> Option<Known> {
        let number = |name: &[u8]| {
            let line = info.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
            std::str::from_utf8(line).ok()?.trim().parse().ok()
        };
        Some(Known { own: number(b"cluster_my_epoch:")?, greatest: number(b"cluster_current_epoch:")? })
    }
}

/// The last look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epochs(Option<Known>);

impl Epochs {
    /// True: since the look before a slot may have been elsewhere. A server whose command has another name tells nothing.
    pub fn look(&mut self, now: Option<Known>) -> bool {
        now.is_some_and(|now| self.0.replace(now) != Some(now))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn cluster_info_says_both() {
        let info = b"cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:3\r\n";
        assert_eq!(Known::parse(info), Some(Known { own: 3, greatest: 7 }));
        assert_eq!(Known::parse(b"cluster_current_epoch:7\r\n"), None);
    }

    #[test]
    fn each_change_is_told_once() {
        let [early, late] = [7, 8].map(|greatest| Some(Known { own: 3, greatest }));
        let mut epochs = Epochs::default();
        let told = [early, early, None, early, late, late].map(|now| epochs.look(now));
        assert_eq!(told, [true, false, false, false, true, false]);
    }

    /// A row, a call that reads it, and two nodes of which one has the slot.
    #[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
    struct World {
        owner: usize,
        version: u8,
        nodes: [Node; 2],
        moves: u8,
    }

    #[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
    struct Node {
        epoch: u64,
        greatest: u64,
        looked: Option<(u64, u64)>,
        /// The version that is being fetched, and that it is good for nobody but who waits.
        fetched: Option<(u8, bool)>,
        entry: Option<u8>,
    }

    impl World {
        fn look(&mut self, at: usize, looks: bool) {
            let node = &mut self.nodes[at];
            let mut epochs = Epochs(node.looked.map(|(own, greatest)| Known { own, greatest }));
            if looks && epochs.look(Some(Known { own: node.epoch, greatest: node.greatest })) {
                node.fetched = node.fetched.map(|(version, _)| (version, true));
            }
            node.looked = epochs.0.map(|known| (known.own, known.greatest));
        }

        fn steps(&self, looks: bool) -> Vec<World> {
            let owner = self.owner;
            let mut steps = Vec::new();
            let mut step = |change: &dyn Fn(&mut World)| {
                let mut next = self.clone();
                change(&mut next);
                steps.push(next);
            };
            if self.nodes[owner].fetched.is_none() && self.nodes[owner].entry.is_none() {
                step(&|world| world.nodes[owner].fetched = Some((world.version, false)));
            }
            // Of a slot that is elsewhere the server lets nobody write.
            for at in 0..2 {
                step(&|world| {
                    world.look(at, looks);
                    let fetched = world.nodes[at].fetched.take();
                    if let Some((version, false)) = fetched.filter(|_| world.owner == at) {
                        world.nodes[at].entry = Some(version);
                    }
                });
            }
            if self.version < 2 {
                step(&|world| {
                    world.version += 1;
                    let node = &mut world.nodes[owner];
                    node.entry = None;
                    node.fetched = node.fetched.map(|(version, _)| (version, true));
                });
            }
            // With an entry it is no empty slot: its keys are notified.
            if self.moves < 3 && self.nodes[owner].entry.is_none() {
                step(&|world| {
                    world.moves += 1;
                    world.owner = 1 - owner;
                    let node = &mut world.nodes[1 - owner];
                    if node.epoch == 0 || node.epoch < node.greatest {
                        node.greatest += 1;
                        node.epoch = node.greatest;
                    }
                    let greatest = node.greatest;
                    world.nodes[owner].greatest = greatest;
                });
            }
            steps
        }
    }

    fn finds_stale(looks: bool) -> bool {
        let mut begin = World::default();
        for (at, node) in begin.nodes.iter_mut().enumerate() {
            (node.epoch, node.greatest) = (at as u64 + 1, 2);
        }
        let mut seen = HashSet::from([begin.clone()]);
        let mut open = vec![begin];
        while let Some(world) = open.pop() {
            if world.nodes[world.owner].entry.is_some_and(|version| version < world.version) {
                return true;
            }
            open.extend(world.steps(looks).into_iter().filter(|next| seen.insert(next.clone())));
        }
        assert!(seen.len() > 500, "{}", seen.len());
        false
    }

    #[test]
    fn in_every_order_nothing_is_stored_that_was_fetched_before_the_slot_had_left() {
        assert!(!finds_stale(true));
        assert!(finds_stale(false), "without a look it is");
    }
}
