//! What was written, what of it must be seen, and whether an answer can be explained by it.
//!
//! ```text
//! version   1    2    3    4    5
//!                     |         |
//!                     floor     newest that was begun
//!                     (known to be seen when the question was asked)
//! ```
//! In an answer each row must be as one of the versions from the floor, at the time of the question, to the newest, at the
//! time of the answer. Rows are checked each on its own: a cache promises no snapshot over several.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use super::answer::Answer;
use super::model::{index, row, Call, Section, State, ROWS};

/// Versions of each row, from 1 on.
pub struct History {
    states: RwLock<Vec<Vec<State>>>,
    floors: Vec<AtomicU32>,
}

/// What must have been seen of each row.
pub type Floors = [u32; ROWS];

impl History {
    pub fn new() -> History {
        History {
            states: RwLock::new((0..ROWS).map(|index| vec![State::first(index)]).collect()),
            floors: (0..ROWS).map(|_| AtomicU32::new(1)).collect(),
        }
    }

    /// The newest version of a row, and its state.
    pub fn newest(&self, row: usize) -> (u32, State) {
        let states = self.states();
        (states[row].len() as u32, *states[row].last().expect("each has a first version"))
    }

    /// A version is about to be written; returns its number.
    pub fn begin(&self, row: usize, state: State) -> u32 {
        let mut states = self.states.write().expect("no panic while it is held");
        states[row].push(state);
        states[row].len() as u32
    }

    /// The version is known to be seen.
    pub fn seen(&self, row: usize, version: u32) {
        self.floors[row].fetch_max(version, Ordering::SeqCst);
    }

    pub fn floors(&self) -> Floors {
        std::array::from_fn(|row| self.floors[row].load(Ordering::SeqCst))
    }

    fn states(&self) -> RwLockReadGuard<'_, Vec<Vec<State>>> {
        self.states.read().expect("no panic while it is held")
    }

    /// Why an answer that has just come cannot be explained, with the floors at the time of its question; None: it can.
    pub fn fault(&self, call: &Call, floors: &Floors, answer: &Answer) -> Option<String> {
        let states = self.states();
        match answer {
            Answer::Rows(rows) => {
                let mut versions = [0; ROWS];
                for (id, version) in rows {
                    let Some(row) = shown(call, *id) else { return Some(format!("nobody has written a row {id}")) };
                    if versions[row] != 0 {
                        return Some(format!("row {id} is there twice"));
                    }
                    versions[row] = *version;
                }
                (0..ROWS).find_map(|row| fault_of_row(call, row, floors[row], versions[row], &states[row]))
            }
            Answer::Count { count, versions } => fault_of_count(call, floors, (*count, *versions), &states),
        }
    }

    /// What the last versions of a row were, for who has to find out.
    pub fn log(&self, row: usize, floor: u32) -> String {
        let states = self.states();
        let from = (floor as usize).saturating_sub(6).max(1);
        let lines = states[row].iter().enumerate().skip(from - 1).take(40);
        lines
            .map(|(at, state)| format!("    version {}: {:?} {:?}\n", at + 1, state.size, state.color_names()))
            .collect()
    }
}

/// The row that an id in an answer stands for.
fn shown(call: &Call, id: i64) -> Option<usize> {
    match id {
        1.. => index(call.space, id),
        _ => index(Section::Box, -id).filter(|_| call.space == Section::Item && call.shows(Section::Box)),
    }
}

/// `version` is 0 where the row is not in the answer.
fn fault_of_row(call: &Call, at: usize, floor: u32, version: u32, states: &[State]) -> Option<String> {
    let (section, id) = row(at);
    if !call.shows(section) {
        return None;
    }
    let name = section.name();
    if version == 0 {
        let mut possible = states[floor as usize - 1..].iter();
        let is_explained = possible.any(|state| !call.has((section, id), *state));
        return (!is_explained).then(|| format!("{name} {id} is missing; its floor is {floor}"));
    }
    let Some(state) = states.get(version as usize - 1) else {
        return Some(format!("{name} {id} has version {version}, which nobody has written"));
    };
    if version < floor {
        return Some(format!("{name} {id} has version {version}; its floor is {floor}"));
    }
    (!call.has((section, id), *state)).then(|| format!("{name} {id} at version {version} does not belong there"))
}

fn fault_of_count(call: &Call, floors: &Floors, found: (u64, u64), states: &[Vec<State>]) -> Option<String> {
    let (mut least, mut most) = ((0, 0), (0, 0));
    for at in 0..ROWS {
        let floor = floors[at] as usize;
        let possible = (floor..).zip(&states[at][floor - 1..]);
        let parts = possible.map(|(version, state)| match call.has(row(at), *state) {
            true => (1, version as u64),
            false => (0, 0),
        });
        let (mut low, mut high) = ((u64::MAX, u64::MAX), (0, 0));
        for (count, version) in parts {
            low = (low.0.min(count), low.1.min(version));
            high = (high.0.max(count), high.1.max(version));
        }
        least = (least.0 + low.0, least.1 + low.1);
        most = (most.0 + high.0, most.1 + high.1);
    }
    let is_explained = (least.0..=most.0).contains(&found.0) && (least.1..=most.1).contains(&found.1);
    (!is_explained).then(|| format!("count and sum of versions are {found:?}, and must be from {least:?} to {most:?}"))
}
