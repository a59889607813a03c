//! Which columns of a section's rows the results of a query read, as the catalog says it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of columns, sorted, each once.
pub type Columns = Arc<[Box<str>]>;

/// By section, sorted: the columns of its rows that results of a query read. Of a section that is not named: all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnsRead(Box<[(Box<str>, Columns)]>);

impl ColumnsRead {
    pub(in crate::core) fn of_sections(sections: impl IntoIterator<Item = (Box<str>, Vec<Box<str>>)>) -> ColumnsRead {
        let by_section: BTreeMap<Box<str>, Columns> =
            sections.into_iter().map(|(section, columns)| (section, sorted(columns))).collect();
        ColumnsRead(by_section.into_iter().collect())
    }

    /// Sections, and the columns of each.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Columns)> {
        self.0.iter().map(|(section, columns)| (&**section, columns))
    }
}

fn sorted(names: impl IntoIterator<Item = Box<str>>) -> Columns {
    let mut names: Vec<Box<str>> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}
