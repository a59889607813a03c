//! Two masters, a replica of each, and slots that go from one to the other while either removes much: every order of what can happen.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::tombstones::{Step, Tags, Tombstones};
use super::unsettled::Seen;

/// One tag a slot, of one digit.
const TAGS: [u32; 3] = [1, 2, 3];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Owned,
    Migrating,
    Importing,
    Anothers,
}

/// What a master has sent, and its replica has not read yet.
type Sent = Vec<(usize, bool)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    slots: [Slot; 3],
    /// Slots in which the key of that tag stands.
    keys: BTreeSet<usize>,
    known: Tombstones,
    is_removing: bool,
    /// Nothing has happened to its slots and keys since it took a step.
    is_fresh: bool,
    sent: Sent,
    replica_keys: BTreeSet<usize>,
    replica: Tombstones,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    nodes: [Node; 2],
    removals_left: u8,
    moves_left: u8,
    failovers_left: u8,
    loads_left: u8,
}

/// What is not kept to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A master writes its key wherever the slot is.
    WritesAnywhere,
    /// A master goes by what it has put, and does not look whether the slot stays.
    LooksOnce,
    /// What came with a slot stays.
    KeepsWhatCame,
    /// A replica goes by what it hears alone.
    LooksAtNoDataset,
}

fn name(slot: usize) -> Vec<u8> {
    format!("bear.module:{{{}}}:cold", TAGS[slot]).into_bytes()
}

/// Of a tag, or of the name of a key.
fn slot_of(name: &[u8]) -> usize {
    let number = name.iter().find(|byte| byte.is_ascii_digit()).expect("its tag");
    usize::from(number - b'1')
}

impl Node {
    fn new(slots: [Slot; 3]) -> Node {
        let mut known = Tombstones::new(Tags::some(&TAGS));
        known.emptied();
        Node {
            slots,
            keys: BTreeSet::new(),
            replica: known.clone(),
            known,
            is_removing: false,
            is_fresh: false,
            sent: Vec::new(),
            replica_keys: BTreeSet::new(),
        }
    }

    fn change(&mut self, slot: usize, stands: bool) {
        match stands {
            true => self.keys.insert(slot),
            false => self.keys.remove(&slot),
        };
        self.known.heard(&name(slot), stands);
        self.sent.push((slot, stands));
        self.is_fresh = false;
    }

    /// By a command of its own, which the server refuses elsewhere.
    fn write(&mut self, slot: usize, stands: bool) {
        assert!(self.slots[slot] == Slot::Owned, "a key in slot {slot}, which is {:?}", self.slots[slot]);
        self.change(slot, stands);
    }

    fn tick(&mut self, fault: Fault) {
        while self.known.look(|key| self.keys.contains(&slot_of(key))) {}
        let slots = self.slots;
        let seen = |tag: &[u8]| match slots[slot_of(tag)] {
            _ if fault == Fault::WritesAnywhere => Seen::Here,
            Slot::Owned => Seen::Here,
            _ => Seen::Elsewhere { keys: 1 },
        };
        let step = match self.is_removing {
            true if fault == Fault::LooksOnce && !self.keys.is_empty() => Step::Done,
            true => self.known.raise(seen),
            false if fault == Fault::KeepsWhatCame => Step::Done,
            false => self.known.lower(seen),
        };
        match step {
            Step::Put(key) => self.write(slot_of(&key), true),
            Step::Remove(keys) => keys.iter().for_each(|key| self.write(slot_of(key), false)),
            Step::Done | Step::Stands(_) | Step::Searching | Step::Later => {}
        }
        self.is_fresh = true;
    }

    fn replica_hears(&mut self) -> bool {
        if self.sent.is_empty() {
            return false;
        }
        let (slot, stands) = self.sent.remove(0);
        match stands {
            true => self.replica_keys.insert(slot),
            false => self.replica_keys.remove(&slot),
        };
        self.replica.heard(&name(slot), stands);
        true
    }

    fn replica_loads(&mut self, fault: Fault) {
        self.replica_keys.clone_from(&self.keys);
        self.sent.clear();
        match fault {
            Fault::LooksAtNoDataset => self.replica.emptied(),
            _ => self.replica.look_anew(),
        }
    }

    fn replica_looks(&mut self) {
        while self.replica.look(|key| self.replica_keys.contains(&slot_of(key))) {}
    }
}

impl World {
    fn new([removals_left, moves_left, failovers_left, loads_left]: [u8; 4]) -> World {
        let first = Node::new([Slot::Owned, Slot::Owned, Slot::Anothers]);
        let second = Node::new([Slot::Anothers, Slot::Anothers, Slot::Owned]);
        World { nodes: [first, second], removals_left, moves_left, failovers_left, loads_left }
    }

    /// All that can happen next, each with its name.
    fn steps(&self, fault: Fault) -> Vec<(String, World)> {
        let mut steps = Vec::new();
        let mut step = |name: String, change: &dyn Fn(&mut World) -> bool| {
            let mut next = self.clone();
            if change(&mut next) {
                steps.push((name, next));
            }
        };
        for at in 0..2 {
            step(format!("{at} begins to remove"), &|world| {
                let node = &mut world.nodes[at];
                let can = world.removals_left > 0 && !node.is_removing;
                if can {
                    world.removals_left -= 1;
                    (node.is_removing, node.is_fresh) = (true, false);
                }
                can
            });
            step(format!("{at} has removed all"), &|world| {
                let node = &mut world.nodes[at];
                let can = node.is_removing && node.is_fresh;
                if can {
                    (node.is_removing, node.is_fresh) = (false, false);
                }
                can
            });
            step(format!("{at} ticks"), &|world| {
                world.nodes[at].tick(fault);
                true
            });
            step(format!("{at}'s replica hears"), &|world| world.nodes[at].replica_hears());
            step(format!("{at}'s replica loads"), &|world| {
                let can = world.loads_left > 0;
                if can {
                    world.loads_left -= 1;
                    world.nodes[at].replica_loads(fault);
                }
                can
            });
            step(format!("{at}'s replica looks"), &|world| {
                world.nodes[at].replica_looks();
                true
            });
            step(format!("{at}'s replica is promoted"), &|world| {
                let can = world.failovers_left > 0;
                if can {
                    world.failovers_left -= 1;
                    let node = &mut world.nodes[at];
                    node.keys.clone_from(&node.replica_keys);
                    node.known = node.replica.clone();
                    // What its master had stored goes; another replica begins with what is there.
                    (node.is_removing, node.is_fresh) = (true, false);
                    node.replica_loads(fault);
                }
                can
            });
            let to = 1 - at;
            for slot in 0..3 {
                step(format!("slot {slot} begins to go {at} -> {to}"), &|world| {
                    let can = world.moves_left > 0 && world.nodes[at].slots[slot] == Slot::Owned;
                    if can {
                        world.moves_left -= 1;
                        world.nodes[at].slots[slot] = Slot::Migrating;
                        world.nodes[to].slots[slot] = Slot::Importing;
                        world.nodes.iter_mut().for_each(|node| node.is_fresh = false);
                    }
                    can
                });
                step(format!("the key of slot {slot} goes {at} -> {to}"), &|world| {
                    let is_moving = world.nodes[at].slots[slot] == Slot::Migrating;
                    let can = is_moving && world.nodes[at].keys.contains(&slot);
                    if can {
                        // BUSYKEY: somebody has made it there, or a failover has lost that it went.
                        let is_there = world.nodes[to].keys.contains(&slot);
                        assert!(!is_there || world.failovers_left == 0, "slot {slot}'s stands at both");
                        world.nodes[to].change(slot, true);
                        world.nodes[at].change(slot, false);
                    }
                    can
                });
                step(format!("slot {slot} has gone {at} -> {to}"), &|world| {
                    let is_moving = world.nodes[at].slots[slot] == Slot::Migrating;
                    let can = is_moving && !world.nodes[at].keys.contains(&slot);
                    if can {
                        world.nodes[at].slots[slot] = Slot::Anothers;
                        world.nodes[to].slots[slot] = Slot::Owned;
                        world.nodes.iter_mut().for_each(|node| node.is_fresh = false);
                    }
                    can
                });
            }
        }
        steps
    }

    fn check(&self) -> Result<(), String> {
        for (at, node) in self.nodes.iter().enumerate() {
            let owns = node.slots.contains(&Slot::Owned);
            if node.is_removing && node.is_fresh && owns {
                if !node.keys.iter().any(|slot| node.slots[*slot] == Slot::Owned) {
                    return Err(format!("{at} removes, and no key that stays says so"));
                }
                if node.sent.is_empty() && !node.replica.is_cold() {
                    return Err(format!("{at}'s replica serves what is being removed"));
                }
            }
            if !node.replica_keys.is_empty() && !node.replica.is_cold() {
                return Err(format!("{at}'s replica does not see what stands"));
            }
        }
        Ok(())
    }

    /// Once slots stand still and all is removed, no key is left, and replicas serve.
    fn settles(&self, fault: Fault) -> Result<(), String> {
        let mut world = self.clone();
        for slot in 0..3 {
            if let Some(at) = (0..2).find(|at| world.nodes[*at].slots[slot] == Slot::Migrating) {
                if world.nodes[at].keys.contains(&slot) {
                    world.nodes[1 - at].change(slot, true);
                    world.nodes[at].change(slot, false);
                }
                world.nodes[at].slots[slot] = Slot::Anothers;
                world.nodes[1 - at].slots[slot] = Slot::Owned;
            }
        }
        for node in &mut world.nodes {
            node.is_removing = false;
            // By its TTL, in a slot that is another's.
            let anothers = |slot: &usize| node.slots[*slot] == Slot::Anothers;
            let over: Vec<usize> = node.keys.iter().copied().filter(anothers).collect();
            over.into_iter().for_each(|slot| node.change(slot, false));
            node.tick(fault);
            while node.replica_hears() {}
            node.replica_looks();
            if !node.keys.is_empty() || node.replica.is_cold() {
                return Err(format!("{:?} stand for ever", node.keys));
            }
        }
        Ok(())
    }
}

/// The last step to a state, and those before it.
struct Path(String, Option<Rc<Path>>);

impl Path {
    fn steps(path: &Option<Rc<Path>>) -> Vec<&str> {
        let mut steps: Vec<&str> =
            std::iter::successors(path.as_ref(), |path| path.1.as_ref()).map(|path| &*path.0).collect();
        steps.reverse();
        steps
    }
}

/// The first thing that goes wrong, with the steps to it; how many states there are if nothing does.
fn explore(fault: Fault, left: [u8; 4]) -> Result<usize, String> {
    let mut seen = HashSet::from([World::new(left)]);
    let mut open = vec![(World::new(left), None)];
    while let Some((world, path)) = open.pop() {
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.check().and_then(|()| world.settles(fault))?;
            Ok::<_, String>(world.steps(fault))
        }));
        let steps = steps.unwrap_or_else(|_| Err("a refused write".into()));
        let steps = steps.map_err(|error| format!("{error} after {:?}", Path::steps(&path)))?;
        for (name, next) in steps {
            if seen.insert(next.clone()) {
                open.push((next, Some(Rc::new(Path(name, path.clone())))));
            }
        }
    }
    Ok(seen.len())
}

/// Removals, moves of slots, failovers, and replicas that load anew: not all at once, or there are too many orders.
const CASES: [[u8; 4]; 3] = [[1, 2, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]];

#[test]
fn in_every_order_replicas_are_told_while_much_is_removed_and_no_longer() {
    for left in CASES {
        let states = explore(Fault::None, left).unwrap_or_else(|error| panic!("{error}"));
        assert!(states > 1_000, "{left:?}: {states}");
    }
}

#[test]
fn who_keeps_not_to_the_rules_is_found_out() {
    for fault in [Fault::WritesAnywhere, Fault::LooksOnce, Fault::KeepsWhatCame, Fault::LooksAtNoDataset] {
        assert!(CASES.iter().any(|left| explore(fault, *left).is_err()), "{fault:?}");
    }
}
