//! What sweeps have in common: numbers of the environment, strikes in an order of chance, and workers that are processes of their
//! own, which can be stopped and killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::workers::event::Event;
use crate::support::process::Process;
use crate::support::{guardian, wait_for, Random};

pub fn number_of_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The next of all in an order of chance; each comes before one comes again.
pub fn draw<T: Clone>(left: &mut Vec<T>, all: &[T], random: &mut Random) -> T {
    if left.is_empty() {
        *left = all.to_vec();
    }
    left.swap_remove(random.below(left.len()))
}

/// The test of this binary that such a process runs, and the variable in which it finds its settings.
#[derive(Clone, Copy)]
pub struct Program {
    pub test: &'static str,
    pub variable: &'static str,
}

struct WorkerProcess {
    process: Process,
    /// What it saw, an event a line.
    file: PathBuf,
}

pub struct WorkerProcesses {
    program: Program,
    processes: Vec<WorkerProcess>,
    /// What those wrote that are no more.
    files: Vec<PathBuf>,
}

impl WorkerProcesses {
    pub fn new(program: Program) -> WorkerProcesses {
        WorkerProcesses { program, processes: Vec::new(), files: Vec::new() }
    }

    /// `settings`: of the file that it writes events to.
    pub fn start(&mut self, settings: impl FnOnce(&Path) -> String) {
        let process = self.spawn(settings);
        self.processes.push(process);
    }

    fn spawn(&self, settings: impl FnOnce(&Path) -> String) -> WorkerProcess {
        let file = guardian::folder("worker").join("events");
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", self.program.test, "--ignored", "--nocapture"]);
        command.env(self.program.variable, settings(&file));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        WorkerProcess { process: Process::spawn(&mut command, "KILL"), file }
    }

    /// One is killed, and there is another.
    pub fn kill(&mut self, random: &mut Random, settings: impl FnOnce(&Path) -> String) {
        let at = random.below(self.processes.len());
        let next = self.spawn(settings);
        let WorkerProcess { process, file } = std::mem::replace(&mut self.processes[at], next);
        process.end(Signal::KILL);
        self.files.push(file);
    }

    /// One stands still for longer than a lease, wherever it is.
    pub fn stop(&mut self, random: &mut Random) {
        let at = random.below(self.processes.len());
        self.processes[at].process.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(1100 + random.below(400) as u64));
        self.processes[at].process.signal(Signal::CONT);
    }

    /// Waits until they have ended, as they were told to; what they saw.
    pub fn end(&mut self) -> Vec<Event> {
        for WorkerProcess { mut process, file } in std::mem::take(&mut self.processes) {
            wait_for("a worker's process ends", || process.ended());
            self.files.push(file);
        }
        let texts = self.files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default());
        texts.flat_map(|text| text.lines().filter_map(Event::parse).collect::<Vec<_>>()).collect()
    }
}
