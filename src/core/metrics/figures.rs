//! Values of figures, as they are gathered.

use super::list;

/// A value, by the figure's name in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Text(String),
}

/// What several have together, each of the same figures; None where there are none.
pub fn sum<const N: usize>(all: impl Iterator<Item = [(&'static str, u64); N]>) -> Option<[(&'static str, u64); N]> {
    all.reduce(|mut sums, figures| {
        sums.iter_mut().zip(figures).for_each(|((_, sum), (_, value))| *sum += value);
        sums
    })
}

/// Figures of one part or of all, or of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures(Vec<(&'static str, Value)>);

impl Figures {
    pub fn number(&mut self, name: &'static str, value: u64) {
        debug_assert!(list::find(name).is_some(), "{name} is not in the list of figures");
        self.0.push((name, Value::Number(value)));
    }

    pub fn numbers(&mut self, numbers: impl IntoIterator<Item = (&'static str, u64)>) {
        numbers.into_iter().for_each(|(name, value)| self.number(name, value));
    }

    /// Those of another part.
    pub fn extend(&mut self, other: Figures) {
        self.0.extend(other.0);
    }

    pub fn text(&mut self, name: &'static str, value: &str) {
        debug_assert!(list::find(name).is_some(), "{name} is not in the list of figures");
        self.0.push((name, Value::Text(value.to_owned())));
    }

    /// Adds to a number that may be there.
    pub fn add(&mut self, name: &'static str, value: u64) {
        match self.place(name) {
            Some(number) => *number += value,
            None => self.number(name, value),
        }
    }

    pub fn add_all(&mut self, numbers: impl IntoIterator<Item = (&'static str, u64)>) {
        numbers.into_iter().for_each(|(name, value)| self.add(name, value));
    }

    /// The greater of both.
    pub fn at_least(&mut self, name: &'static str, value: u64) {
        match self.place(name) {
            Some(number) => *number = value.max(*number),
            None => self.number(name, value),
        }
    }

    fn place(&mut self, name: &str) -> Option<&mut u64> {
        self.0.iter_mut().find_map(|(of, value)| match value {
            Value::Number(number) if *of == name => Some(number),
            _ => None,
        })
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    pub fn get_number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
        }
    }
}
