//! What Postgres must hold: the jobs that reached the queue, applied one by one in the order of their ids.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::marked::Job;

/// The colours that there are.
pub const COLORS: [&str; 4] = ["black", "brown", "white", "grey"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bear {
    pub name: String,
    pub size: i64,
    pub colors: BTreeSet<String>,
}

/// Which bears there are, by id; those that CREATE_BEAR made by their name, for Postgres draws their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Model {
    pub bears: BTreeMap<i64, Bear>,
    pub created: BTreeMap<String, Bear>,
}

/// What must come of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Completed,
    /// It changes nothing; the reason holds these words.
    Failed(&'static str),
}

impl Model {
    pub fn apply(&mut self, mark: &str, job: &Job) -> Fate {
        const NO_SUCH_COLOR: Fate = Fate::Failed("unknown colour");
        // Nothing is said of the words: it is a statement that returned no row for its job.
        const NO_SUCH_BEAR: Fate = Fate::Failed("");
        let are_known = |colors: &[&'static str]| colors.iter().all(|color| COLORS.contains(color));
        let born = |size: &i64, colors: &[&'static str]| Bear {
            name: mark.to_owned(),
            size: *size,
            colors: colors.iter().map(|color| (*color).to_owned()).collect(),
        };
        match job {
            Job::Create { colors, .. } if !are_known(colors) => return NO_SUCH_COLOR,
            Job::Create { size, colors } => {
                self.created.insert(mark.to_owned(), born(size, colors));
                return Fate::Completed;
            }
            Job::Place { id, .. } if self.bears.contains_key(id) => return Fate::Failed("duplicate key"),
            Job::Place { id, size, colors } => {
                self.bears.insert(*id, born(size, colors));
                return Fate::Completed;
            }
            Job::Delete { id } => {
                return self.bears.remove(id).map_or(NO_SUCH_BEAR, |_| Fate::Completed);
            }
            _ => {}
        }
        let Some(bear) = job.bear().and_then(|id| self.bears.get_mut(&id)) else { return NO_SUCH_BEAR };
        match job {
            Job::Rename { .. } => bear.name = mark.to_owned(),
            Job::Grow { by, .. } => bear.size += by,
            Job::Recolor { colors, .. } if !are_known(colors) => return NO_SUCH_COLOR,
            Job::Recolor { colors, .. } => bear.colors = born(&0, colors).colors,
            other => panic!("the model does not know {other:?}"),
        }
        Fate::Completed
    }
}

#[test]
fn the_model_fails_what_postgres_would() {
    let mut model = Model::default();
    let place = Job::Place { id: 1, size: 5, colors: vec!["black"] };
    for (mark, job, fate) in [
        ("a", Job::Grow { id: 1, by: 2 }, Fate::Failed("")),
        ("b", place.clone(), Fate::Completed),
        ("c", place, Fate::Failed("duplicate key")),
        ("d", Job::Grow { id: 1, by: 2 }, Fate::Completed),
        ("e", Job::Recolor { id: 1, colors: vec!["mauve"] }, Fate::Failed("unknown colour")),
        ("f", Job::Rename { id: 1 }, Fate::Completed),
        ("g", Job::Create { size: 1, colors: vec!["mauve"] }, Fate::Failed("unknown colour")),
        ("h", Job::Create { size: 1, colors: vec![] }, Fate::Completed),
    ] {
        assert_eq!(model.apply(mark, &job), fate, "{mark}");
    }
    let bear = Bear { name: "f".into(), size: 7, colors: ["black".to_owned()].into() };
    assert_eq!(model.bears, [(1, bear)].into());
    assert_eq!(model.created.keys().collect::<Vec<_>>(), ["h"]);
    assert_eq!(model.apply("i", &Job::Delete { id: 1 }), Fate::Completed);
    assert_eq!(model.apply("j", &Job::Rename { id: 1 }), Fate::Failed(""));
}
