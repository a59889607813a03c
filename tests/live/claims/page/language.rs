//! How the page's workers are run.

use std::path::Path;
use std::process::Command;

use crate::support::languages;

pub trait Language: Sync {
    /// The files of the worker, as the page calls them; the first one is run.
    fn files(&self) -> &'static [&'static str];

    /// Runs a file that imports what was brought in.
    fn command(&self, folder: &Path) -> Command;

    /// Does a job that is to stop give up a request under way? In Python it is looked at between two steps.
    fn ends_requests(&self) -> bool;
}

pub struct Python;
pub struct Node;

impl Language for Python {
    fn files(&self) -> &'static [&'static str] {
        &["worker.py", "jobs.py"]
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = languages::python(folder);
        command.arg(self.files()[0]);
        command
    }

    fn ends_requests(&self) -> bool {
        false
    }
}

impl Language for Node {
    fn files(&self) -> &'static [&'static str] {
        &["worker.mjs", "jobs.mjs"]
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = languages::node(folder);
        command.arg(self.files()[0]);
        command
    }

    fn ends_requests(&self) -> bool {
        true
    }
}
