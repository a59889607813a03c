//! Two nodes, a slot that goes from one to the other, and a queue of a few keys: every order of what can happen. Each node looks before
//! it writes, and keeps what is touched in [`Unsettled`].

use std::collections::HashSet;

use super::unsettled::{Seen, Touched, Turn, Unsettled};

const SPACE: &[u8] = b"{bear}";

/// Jobs that a client enqueues.
const JOBS: u8 = 2;

/// Keys of a queue: they move one by one, in this order or the other.
const KEYS: [Key; 3] = [Key::Stream, Key::Identity, Key::Records];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Stream,
    Identity,
    Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Owned,
    Migrating,
    Importing,
    Anothers,
}

/// What a node has read of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Memory {
    identity: u8,
    /// Up to which job a batch of it was sent.
    sent: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    slot: Slot,
    /// Jobs that have not settled.
    stream: Option<Vec<u8>>,
    identity: Option<u8>,
    records: Option<Vec<u8>>,
    memory: Option<Memory>,
    /// Batches that an applier has: of which queue, and its jobs. Then those whose outcome has come back.
    in_flight: Vec<(u8, Vec<u8>)>,
    outcome: Option<(u8, Vec<u8>)>,
}

#[derive(Clone)]
struct World {
    nodes: [Node; 2],
    unsettled: [Unsettled; 2],
    enqueued: u8,
    /// By the ledger: up to which job a queue is applied, by its identity.
    marks: Vec<u8>,
    applied: Vec<u8>,
    moves_left: u8,
    backwards: bool,
}

/// What is not kept to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A node does not look before it writes.
    WritesHalfWay,
}

impl Node {
    fn new(slot: Slot) -> Node {
        Node { slot, stream: None, identity: None, records: None, memory: None, in_flight: Vec::new(), outcome: None }
    }

    fn has(&self, key: Key) -> bool {
        match key {
            Key::Stream => self.stream.is_some(),
            Key::Identity => self.identity.is_some(),
            Key::Records => self.records.is_some(),
        }
    }

    fn keys(&self) -> u64 {
        KEYS.iter().filter(|key| self.has(**key)).count() as u64
    }
}

impl World {
    fn new(backwards: bool) -> World {
        World {
            nodes: [Node::new(Slot::Owned), Node::new(Slot::Anothers)],
            unsettled: Default::default(),
            enqueued: 0,
            marks: Vec::new(),
            applied: Vec::new(),
            moves_left: 2,
            backwards,
        }
    }

    /// As `is_here` does: a look, and if it says no the space rests.
    fn is_here(&mut self, at: usize) -> bool {
        if !self.unsettled[at].rests(SPACE) && self.nodes[at].slot == Slot::Owned {
            return true;
        }
        self.unsettled[at].rest(SPACE);
        false
    }

    fn look(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let seen = match node.slot {
            Slot::Owned => Seen::Here,
            _ => Seen::Elsewhere { keys: node.keys() },
        };
        match self.unsettled[at].look(SPACE, seen) {
            Turn::Came(_) | Turn::Gone(_) => node.memory = None,
            Turn::GoesOn(_) | Turn::Rests => {}
        }
    }

    fn touched(&mut self, at: usize) {
        if !self.is_here(at) {
            self.unsettled[at].touch(SPACE, Touched::Jobs);
        }
    }

    fn open(&mut self, at: usize) -> &mut Memory {
        let marks = &self.marks;
        let node = &mut self.nodes[at];
        // A queue begins where there is none.
        let identity = *node.identity.get_or_insert(marks.len() as u8);
        node.stream.get_or_insert_default();
        node.records.get_or_insert_default();
        if usize::from(identity) == self.marks.len() {
            self.marks.push(0);
        }
        node.memory.get_or_insert(Memory { identity, sent: 0 })
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
            // A client enqueues where the slot is owned, or is sent to the one that imports.
            step(format!("{at} enqueues"), &|world| {
                let slot = world.nodes[at].slot;
                let arrives = matches!(slot, Slot::Owned | Slot::Importing) && world.enqueued < JOBS;
                if !arrives {
                    return false;
                }
                // A command looks at once.
                world.look(at);
                if !world.is_here(at) && fault != Fault::WritesHalfWay {
                    return true;
                }
                world.enqueued += 1;
                let job = world.enqueued;
                world.open(at);
                world.nodes[at].stream.get_or_insert_default().push(job);
                true
            });
            step(format!("{at} dispatches"), &|world| {
                if world.nodes[at].stream.is_none() || !world.nodes[at].in_flight.is_empty() {
                    return false;
                }
                if !world.is_here(at) && fault != Fault::WritesHalfWay {
                    return true;
                }
                let memory = world.open(at).clone();
                let node = &mut world.nodes[at];
                let stream = node.stream.clone().unwrap_or_default();
                let jobs: Vec<u8> = stream.into_iter().filter(|job| *job > memory.sent).collect();
                let Some(last) = jobs.last().copied() else { return false };
                node.memory = Some(Memory { sent: last, ..memory.clone() });
                node.in_flight.push((memory.identity, jobs));
                true
            });
            // Under the ledger's lock, at any time: also when the queue has long moved.
            step(format!("Postgres applies {at}'s"), &|world| {
                let Some((identity, jobs)) = world.nodes[at].in_flight.pop() else { return false };
                if world.nodes[at].outcome.is_some() {
                    return false;
                }
                let mark = &mut world.marks[usize::from(identity)];
                world.applied.extend(jobs.iter().filter(|job| **job > *mark));
                *mark = jobs.iter().copied().fold(*mark, u8::max);
                world.nodes[at].outcome = Some((identity, jobs));
                true
            });
            step(format!("{at} publishes"), &|world| {
                let Some((identity, jobs)) = world.nodes[at].outcome.clone() else { return false };
                let here = world.is_here(at) || fault == Fault::WritesHalfWay;
                let node = &mut world.nodes[at];
                // Of another life of the queue: nothing is written of it.
                let Some(memory) = node.memory.as_ref().filter(|memory| memory.identity == identity) else {
                    node.outcome = None;
                    return true;
                };
                let is_current = jobs.last().is_some_and(|last| *last <= memory.sent);
                if !here {
                    // Kept until it goes on, or is forgotten with the memory.
                    return true;
                }
                node.outcome = None;
                if is_current {
                    node.stream.get_or_insert_default().retain(|job| !jobs.contains(job));
                    node.records.get_or_insert_default().extend(jobs);
                }
                true
            });
            step(format!("{at} looks"), &|world| {
                let rested = world.unsettled[at].rests(SPACE);
                world.look(at);
                rested
            });
            let to = 1 - at;
            step(format!("{at} -> {to} begins"), &|world| {
                let can = world.nodes[at].slot == Slot::Owned && world.moves_left > 0;
                if can {
                    world.moves_left -= 1;
                    (world.nodes[at].slot, world.nodes[to].slot) = (Slot::Migrating, Slot::Importing);
                }
                can
            });
            step(format!("a key goes {at} -> {to}"), &|world| {
                if world.nodes[at].slot != Slot::Migrating {
                    return false;
                }
                let mut keys = KEYS;
                if world.backwards {
                    keys.reverse();
                }
                let Some(key) = keys.into_iter().find(|key| world.nodes[at].has(*key)) else { return false };
                // BUSYKEY: somebody has made it there.
                assert!(!world.nodes[to].has(key), "{key:?} stands at both");
                let [first, second] = &mut world.nodes;
                let (source, target) = if at == 0 { (first, second) } else { (second, first) };
                match key {
                    Key::Stream => target.stream = source.stream.take(),
                    Key::Identity => target.identity = source.identity.take(),
                    Key::Records => target.records = source.records.take(),
                }
                world.touched(to);
                world.touched(at);
                true
            });
            step(format!("{at} -> {to} ends"), &|world| {
                let can = world.nodes[at].slot == Slot::Migrating && world.nodes[at].keys() == 0;
                if can {
                    (world.nodes[at].slot, world.nodes[to].slot) = (Slot::Anothers, Slot::Owned);
                }
                can
            });
            step(format!("{at} -> {to} is given up"), &|world| {
                let can = world.nodes[at].slot == Slot::Migrating && world.nodes[to].keys() == 0;
                if can {
                    (world.nodes[at].slot, world.nodes[to].slot) = (Slot::Owned, Slot::Anothers);
                }
                can
            });
        }
        steps
    }

    fn check(&self) -> Result<(), String> {
        let in_order = self.applied.windows(2).all(|pair| pair[0] < pair[1]);
        match () {
            () if !in_order => Err(format!("applied {:?}", self.applied)),
            () if self.marks.len() > 1 => Err("two queues".into()),
            () => Ok(()),
        }
    }

    fn key(&self) -> String {
        let rests = self.unsettled.each_ref().map(|of| format!("{of:?}"));
        format!("{:?}{:?}{}{:?}{:?}{}", self.nodes, rests, self.enqueued, self.marks, self.applied, self.moves_left)
    }

    /// Once the slot stands still everything goes on by itself: all jobs are applied, and none is left.
    fn settles(&self, fault: Fault) -> Result<(), String> {
        // What comes of a state in which a client, or a slot, has something to do still is looked at after that.
        let is_quiet = self.moves_left == 0 && self.enqueued == JOBS;
        let owner = self.nodes.iter().position(|node| node.slot == Slot::Owned).filter(|_| is_quiet);
        let Some(owner) = owner else { return Ok(()) };
        let mut world = self.clone();
        for _ in 0..6 {
            for at in 0..2 {
                let wanted = [format!("{at} looks"), format!("{at} dispatches"), format!("{at} publishes")];
                for name in wanted.into_iter().chain([format!("Postgres applies {at}'s")]) {
                    if let Some((_, next)) = world.steps(fault).into_iter().find(|(step, _)| *step == name) {
                        world = next;
                    }
                }
            }
        }
        let left = world.nodes[owner].stream.clone().unwrap_or_default();
        let all: Vec<u8> = (1..=world.enqueued).collect();
        let elsewhere = world.nodes[1 - owner].keys();
        if world.applied == all && left.is_empty() && elsewhere == 0 {
            Ok(())
        } else {
            Err(format!("applied {:?} of {all:?}, {left:?} left, {elsewhere} keys elsewhere", world.applied))
        }
    }
}

/// The first thing that goes wrong, with the steps to it; how many states there are if nothing does.
fn explore(fault: Fault, backwards: bool) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut open = vec![(World::new(backwards), Vec::<String>::new())];
    seen.insert(open[0].0.key());
    while let Some((world, path)) = open.pop() {
        let settles = if fault == Fault::WritesHalfWay { Ok(()) } else { world.settles(fault) };
        world.check().and(settles).map_err(|error| format!("{error} after {path:?}"))?;
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.steps(fault)));
        let steps = steps.map_err(|_| format!("a key at both after {path:?}"))?;
        for (name, next) in steps.into_iter().filter(|(_, next)| seen.insert(next.key())) {
            let mut path = path.clone();
            path.push(name);
            open.push((next, path));
        }
    }
    Ok(seen.len())
}

#[test]
fn in_every_order_each_job_is_applied_once_and_none_is_left() {
    for backwards in [false, true] {
        let states = explore(Fault::None, backwards).unwrap_or_else(|error| panic!("{error}"));
        assert!(states > 1_000, "{states}");
    }
}

#[test]
fn who_writes_half_way_is_found_out() {
    assert!(explore(Fault::WritesHalfWay, true).is_err());
}
