//! Rows that changed in Postgres, as far as results that do not contain them are concerned: with the values that they
//! have now, they may belong there.

use std::sync::Arc;

use super::dependency::{Dependency, RowChange};
use super::image::Image;
use super::looks::Looks;
use crate::core::catalog::columns_read::Unchanged;

/// What changed at one time.
#[derive(Debug, Default)]
pub struct Changes {
    /// Spaces of which a row has changed: what any change concerns.
    pub spaces: Vec<Arc<[u8]>>,
    /// Present values of rows.
    pub rows: Vec<RowChange>,
    /// Spaces of which a row has changed whose values nobody can tell.
    pub unknown: Vec<Arc<[u8]>>,
    /// What each of the changes has left as it was, those included that are told by no values.
    pub unchanged: Unchanged,
}

/// Present values of the rows of one section that jobs of a space changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// Index into the catalog's sections.
    pub section: usize,
    /// Of the rows that are there; the others are gone.
    pub images: Vec<Image>,
}

impl Changes {
    /// Changes of rows of one space; None: values that nobody can tell.
    pub fn of_space(space: &[u8], images: Option<Vec<Image>>) -> Changes {
        let rows = images.map(|images| images.into_iter().map(|image| (image, Unchanged::UNKNOWN)).collect());
        Changes::of_rows(space, rows, Unchanged::UNKNOWN)
    }

    /// The same of rows of which it is known what they have left as it was; `unchanged`: what all of them have, also those
    /// that are told by no values.
    pub fn of_rows(space: &[u8], rows: Option<Vec<(Image, Unchanged)>>, unchanged: Unchanged) -> Changes {
        let space: Arc<[u8]> = space.into();
        let spaces = vec![space.clone()];
        match rows {
            Some(rows) => {
                let change = |(image, unchanged)| RowChange { space: space.clone(), image, unchanged };
                Changes { spaces, rows: rows.into_iter().map(change).collect(), unknown: Vec::new(), unchanged }
            }
            None => Changes { spaces, rows: Vec::new(), unknown: vec![space], unchanged },
        }
    }

    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// What looking through it costs, about.
    pub fn cost(&self) -> usize {
        self.spaces.len() + self.rows.len()
    }

    /// May one of the rows concern a result that wants to know of such?
    pub fn concern(&self, dependency: &Dependency) -> bool {
        self.concerns(dependency, |change| dependency.meets(change))
    }

    /// The same, but that any row of the space may once there are no looks left.
    pub fn may_concern(&self, dependency: &Dependency, looks: &Looks) -> bool {
        let may_meet = |change: &RowChange| {
            change.space == dependency.space && (looks.take().is_break() || dependency.meets(change))
        };
        self.concerns(dependency, may_meet)
    }

    fn concerns(&self, dependency: &Dependency, meets: impl Fn(&RowChange) -> bool) -> bool {
        if dependency.passes_over(&self.unchanged) {
            return false;
        }
        match dependency.predicate.is_any() {
            true => self.spaces.contains(&dependency.space),
            false => self.unknown.contains(&dependency.space) || self.rows.iter().any(meets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::pattern::CallPattern;
    use crate::core::calls::predicate::Predicate;
    use crate::core::changes::looks::MAX_LOOKS;

    #[test]
    fn beyond_the_looks_any_row_of_the_space_may_concern() {
        let call = Arc::new(CallPattern::parse("all").unwrap());
        let predicate = Arc::new(Predicate::parse("size = 1", call.args()).unwrap());
        let of = |space: &[u8]| Dependency {
            space: space.into(),
            predicate: predicate.clone(),
            call: call.clone(),
            args: Arc::default(),
            reads: None,
        };
        let (bear, den) = (of(b"bear"), of(b"den"));
        let image = Image::from_json(br#"{"size":2}"#).unwrap();
        let changes = Changes::of_space(b"bear", Some(vec![image; MAX_LOOKS]));
        let looks = Looks::default();
        assert!(!changes.may_concern(&bear, &looks) && !changes.may_concern(&den, &looks));
        let one = Changes { rows: changes.rows[..1].to_vec(), ..Changes::default() };
        assert!(one.may_concern(&bear, &looks) && !one.may_concern(&den, &looks) && !one.concern(&bear));
    }
}
