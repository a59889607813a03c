//! What rows look like, and which calls they belong in: the oracle of the checker, which knows nothing of predicates.

use crate::support::Random;

pub const ITEMS: usize = 48;
pub const BOXES: usize = 12;
/// Made of other rows, which a SELECT maps.
pub const HELD: usize = 12;
/// Shown as what names mean says, which DDL changes: the last of all rows.
pub const MEANT: usize = 4;
pub const ROWS: usize = ITEMS + BOXES + HELD + MEANT;

/// Sizes are below it.
pub const SIZES: i64 = 1000;

pub const COLORS: [&str; 4] = ["black", "brown", "grey", "white"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Item,
    Box,
    Held,
    Meant,
}

impl Section {
    pub fn name(self) -> &'static str {
        match self {
            Section::Item => "item",
            Section::Box => "box",
            Section::Held => "held",
            Section::Meant => "meant",
        }
    }
}

/// The section and the id of a row.
pub fn row(index: usize) -> (Section, i64) {
    let section = match index {
        _ if index < ITEMS => Section::Item,
        _ if index < ITEMS + BOXES => Section::Box,
        _ if index < ITEMS + BOXES + HELD => Section::Held,
        _ => Section::Meant,
    };
    (section, (index - place(section).0) as i64 + 1)
}

/// The row with an id of a section.
pub fn index(section: Section, id: i64) -> Option<usize> {
    let (first, count) = place(section);
    let at = usize::try_from(id - 1).ok().filter(|at| *at < count)?;
    Some(first + at)
}

/// The first of a section's rows, and how many there are.
fn place(section: Section) -> (usize, usize) {
    match section {
        Section::Item => (0, ITEMS),
        Section::Box => (ITEMS, BOXES),
        Section::Held => (ITEMS + BOXES, HELD),
        Section::Meant => (ITEMS + BOXES + HELD, MEANT),
    }
}

/// A row at one of its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// None: there is no such row.
    pub size: Option<i64>,
    /// A bit for each of `COLORS`.
    pub colors: u8,
}

impl State {
    pub fn first(index: usize) -> State {
        State { size: Some(index as i64 * 37 % SIZES), colors: (index % 16) as u8 }
    }

    /// Another one: most rows move, some go, some come back, and some stay as they are with a new version.
    pub fn next(self, random: &mut Random) -> State {
        let colors = random.below(16) as u8;
        let Some(size) = self.size else { return State { size: Some(random.below(SIZES as usize) as i64), colors } };
        match random.below(10) {
            0 => State { size: None, colors: 0 },
            1..=2 => self,
            3..=4 => State { size: Some(size), colors },
            5..=6 => State { size: Some((size + random.below(21) as i64 - 10).clamp(0, SIZES - 1)), ..self },
            _ => State { size: Some(random.below(SIZES as usize) as i64), colors },
        }
    }

    pub fn color_names(&self) -> Vec<&'static str> {
        names_of(self.colors)
    }
}

fn names_of(colors: u8) -> Vec<&'static str> {
    COLORS.into_iter().enumerate().filter(|(bit, _)| colors & (1 << bit) != 0).map(|(_, name)| name).collect()
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An array of ids and versions.
    List,
    /// One of them, or null.
    One,
    /// How many rows there are, and the sum of their versions.
    Count,
}

/// A call, and which rows belong in its answer.
#[derive(Debug, Clone)]
pub struct Call {
    pub space: Section,
    pub words: String,
    pub shape: Shape,
    /// Its entries end by themselves, soon.
    pub is_brief: bool,
    /// Does any change of a row of the section drop its entry?
    pub any_item: bool,
    pub any_box: bool,
    pub id: Option<i64>,
    /// Of a value: are the rows named that it is made of?
    pub names_rows: bool,
    low: i64,
    high: i64,
    /// Rows of other sizes than these.
    is_outside: bool,
    /// At least one of them, where there are some.
    any: u8,
    /// All of them.
    every: u8,
    /// Which boxes are shown beside items.
    boxes: Boxes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boxes {
    None,
    Sized,
    All,
}

impl Call {
    fn new(space: Section, words: String) -> Call {
        Call {
            space,
            words,
            shape: Shape::List,
            is_brief: false,
            any_item: false,
            any_box: false,
            id: None,
            names_rows: true,
            low: 0,
            high: SIZES,
            is_outside: false,
            any: 0,
            every: 0,
            boxes: Boxes::None,
        }
    }

    fn range(space: Section, name: &str, low: i64, high: i64) -> Call {
        Call { low, high, ..Call::new(space, format!("{name} {low} {high}")) }
    }

    fn one(space: Section, id: i64) -> Call {
        Call { shape: Shape::One, id: Some(id), ..Call::new(space, id.to_string()) }
    }

    pub fn range_of_sizes(&self) -> (i64, i64) {
        (self.low, self.high)
    }

    /// Can a row of the section be in the answer?
    pub fn shows(&self, section: Section) -> bool {
        self.space == section || (section == Section::Box && self.boxes != Boxes::None)
    }

    /// Is the row in the answer?
    pub fn has(&self, (section, id): (Section, i64), state: State) -> bool {
        let Some(size) = state.size else { return false };
        if section != self.space {
            if section != Section::Box {
                return false;
            }
            return match self.boxes {
                Boxes::None => false,
                Boxes::Sized => (self.low..=self.high).contains(&size),
                Boxes::All => true,
            };
        }
        (self.low..=self.high).contains(&size) != self.is_outside
            && (self.any == 0 || self.any & state.colors != 0)
            && self.every & !state.colors == 0
            && self.id.is_none_or(|wanted| wanted == id)
    }

    /// Must its entry go when the row goes from one state to another? If not, it must stay.
    pub fn is_concerned(&self, row: (Section, i64), old: State, new: State) -> bool {
        let any = match row.0 {
            Section::Item => self.any_item,
            Section::Box => self.any_box,
            Section::Held | Section::Meant => false,
        };
        any || self.has(row, old) || self.has(row, new)
    }
}

/// What readers ask for: few calls, so that most answers come from the cache.
pub fn calls() -> Vec<Call> {
    use Section::{Box, Held, Item, Meant};
    let mut calls = vec![Call { any_item: true, ..Call::new(Item, "all".to_owned()) }];
    calls.extend([1, 2, 3, 17, 30, 48].map(|id| Call::one(Item, id)));
    calls.extend([1, 7].map(|id| Call::one(Box, id)));
    calls.extend([2, 5].map(|id| Call::one(Held, id)));
    calls.extend([(0, 500), (450, 999)].map(|(low, high)| Call::range(Held, "size", low, high)));
    calls.extend([1, 2, 3, 4].map(|id| Call::one(Meant, id)));
    calls.push(Call::new(Meant, "all".to_owned()));
    let ranges = [(0, 99), (100, 199), (150, 250), (240, 260), (300, 599), (500, 500), (600, 999)];
    calls.extend(ranges.map(|(low, high)| Call::range(Item, "size", low, high)));
    calls.extend([(0, 150), (400, 700)].map(|(low, high)| Call::range(Box, "size", low, high)));
    calls.extend(
        [(0, 120), (500, 800)].map(|(low, high)| Call { is_brief: true, ..Call::range(Item, "brief", low, high) }),
    );
    for (any, low) in [(0b0001, None), (0b0110, None), (0b1000, Some(500)), (0b0011, Some(900))] {
        let from = low.map_or_else(String::new, |low| format!(" from {low}"));
        let words = format!("any {}{from}", names_of(any).join(","));
        calls.push(Call { any, low: low.unwrap_or(0), ..Call::new(Item, words) });
    }
    calls.extend([0b0011, 0b1110].map(|every| {
        let words = format!("every {}", names_of(every).join(","));
        Call { every, ..Call::new(Item, words) }
    }));
    calls.extend([(0, 499), (480, 520)].map(|(low, high)| {
        let call = Call::range(Item, "count", low, high);
        Call { shape: Shape::Count, any_item: true, ..call }
    }));
    calls.extend([(0, 200), (600, 650)].map(|(low, high)| {
        let call = Call::range(Item, "shelf", low, high);
        Call { boxes: Boxes::Sized, ..call }
    }));
    calls.extend([(100, 180), (600, 650)].map(|(low, high)| {
        let call = Call::range(Item, "linked", low, high);
        Call { boxes: Boxes::Sized, ..call }
    }));
    calls.extend(
        [(100, 899), (200, 799)]
            .map(|(low, high)| Call { is_outside: true, ..Call::range(Item, "outside", low, high) }),
    );
    calls.push(Call { boxes: Boxes::All, any_box: true, ..Call::range(Item, "beside", 700, 750) });
    calls
}

/// What clients compute.
pub fn values() -> Vec<Call> {
    use Section::Item;
    let mut values: Vec<Call> = [1, 2, 3, 4, 17, 30].map(mine).into();
    values.extend([(0, 99), (150, 250), (500, 560)].map(|(low, high)| Call::range(Item, "kept", low, high)));
    values.extend([(0, 300), (600, 700)].map(|(low, high)| Call::range(Item, "aging", low, high)));
    values.extend(
        [(200, 280), (900, 999)].map(|(low, high)| Call { names_rows: false, ..Call::range(Item, "loose", low, high) }),
    );
    values
}

/// The value of one row, which its writer puts, too.
pub fn mine(id: i64) -> Call {
    Call { words: format!("mine {id}"), ..Call::one(Section::Item, id) }
}

#[test]
fn the_oracle_knows_which_rows_a_call_has() {
    let state = State { size: Some(150), colors: 0b0011 };
    let gone = State { size: None, colors: 0 };
    let words = |row: (Section, i64), state: State| -> Vec<String> {
        calls().into_iter().filter(|call| call.has(row, state)).map(|call| call.words).collect()
    };
    assert_eq!(
        words((Section::Item, 2), state),
        [
            "all",
            "2",
            "size 100 199",
            "size 150 250",
            "any black",
            "any brown,grey",
            "every black,brown",
            "count 0 499",
            "shelf 0 200",
            "linked 100 180",
            "outside 200 799"
        ]
    );
    assert_eq!(words((Section::Box, 7), state), ["7", "size 0 150", "shelf 0 200", "linked 100 180", "beside 700 750"]);
    assert_eq!(words((Section::Item, 2), gone), [""; 0]);
    assert_eq!(words((Section::Held, 5), state), ["5", "size 0 500"]);
    assert_eq!(words((Section::Meant, 4), state), ["4", "all"]);
    assert!((0..ROWS).all(|at| index(row(at).0, row(at).1) == Some(at)));
}
