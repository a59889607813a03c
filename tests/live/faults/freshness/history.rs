//! Rows, their versions, and whether an answer is explained by them, each row on its own: a cache promises no snapshot over several.
//! The judge is `prove/history.rs`; here is what an answer says of a row.

use std::sync::{RwLock, RwLockReadGuard};

use super::answer::Answer;
use super::model::{index, row, Call, Section, State, ROWS};
use crate::prove::history::{Same, Span, States, Versions};

/// Versions of each row, from 1 on, and what it is at each.
pub struct History {
    versions: [Versions; ROWS],
    states: RwLock<Vec<States<State>>>,
}

/// What must have been seen of each row.
pub type Floors = [u32; ROWS];

impl History {
    pub fn new() -> History {
        History {
            versions: std::array::from_fn(|_| Versions::new(1)),
            states: RwLock::new((0..ROWS).map(|row| States::new(1, State::first(row))).collect()),
        }
    }

    /// The newest version of a row, and its state.
    pub fn newest(&self, row: usize) -> (u32, State) {
        let states = self.states();
        let (version, state) = states[row].newest();
        (version, *state)
    }

    /// A version is about to be written; returns its number.
    pub fn begin(&self, row: usize, state: State) -> u32 {
        let mut states = self.states.write().expect("no panic while it is held");
        let version = self.versions[row].begin();
        states[row].add(version, state);
        version
    }

    /// The version is known to be seen.
    pub fn seen(&self, row: usize, version: u32) {
        self.versions[row].seen(version);
    }

    pub fn floors(&self) -> Floors {
        std::array::from_fn(|row| self.versions[row].floor())
    }

    fn states(&self) -> RwLockReadGuard<'_, Vec<States<State>>> {
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
                (0..ROWS).find_map(|row| {
                    let span = self.versions[row].since(floors[row]);
                    fault_of_row(call, row, versions[row], span, &states[row])
                })
            }
            Answer::Count { count, versions } => {
                let spans = std::array::from_fn(|row| self.versions[row].since(floors[row]));
                fault_of_count(call, (*count, *versions), &spans, &states)
            }
        }
    }

    /// What the last versions of a row were, for who has to find out.
    pub fn log(&self, row: usize, floor: u32) -> String {
        let states = self.states();
        let span = Span { floor: floor.saturating_sub(6).max(1), ceiling: u32::MAX };
        let lines = states[row].within(span).take(40);
        lines
            .map(|(version, state)| format!("    version {version}: {:?} {:?}\n", state.size, state.color_names()))
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
fn fault_of_row(call: &Call, at: usize, version: u32, span: Span, states: &States<State>) -> Option<String> {
    let (section, id) = row(at);
    if !call.shows(section) {
        return None;
    }
    let (name, floor) = (section.name(), span.floor);
    if version == 0 {
        let explained = states.explain(span, |state| Same::from(!call.has((section, id), *state)));
        return (explained != Same::Yes).then(|| format!("{name} {id} is missing; its floor is {floor}"));
    }
    if version > span.ceiling {
        return Some(format!("{name} {id} has version {version}, which nobody has written"));
    }
    if version < floor {
        return Some(format!("{name} {id} has version {version}; its floor is {floor}"));
    }
    let belongs = states.at(version).is_some_and(|state| call.has((section, id), *state));
    (!belongs).then(|| format!("{name} {id} at version {version} does not belong there"))
}

fn fault_of_count(call: &Call, found: (u64, u64), spans: &[Span; ROWS], states: &[States<State>]) -> Option<String> {
    let (mut least, mut most) = ((0, 0), (0, 0));
    for at in 0..ROWS {
        // Each version has a state of its own.
        let parts = states[at].within(spans[at]).map(|(version, state)| match call.has(row(at), *state) {
            true => (1, u64::from(version)),
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
