//! A schedule of the catalog.

use crate::core::schedules::definition::Definition;

#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub name: Box<str>,
    pub definition: Definition,
}
