//! A Redis with the page's catalog, a webhook, and workers that are started from the page's blocks.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::language::Language;
use super::receiver::Receiver;
use crate::support::markdown::{blocks, read};
use crate::support::process::Process;
use crate::support::wait::wait_at_most;
use crate::support::{eventually, guardian, wait_for, Redis, Reply};

const PAGE: &str = "docs/guides/workers.md";

pub struct Stage<'a> {
    pub language: &'a dyn Language,
    pub redis: Redis,
    pub receiver: Receiver,
    /// Those that run, the oldest first.
    pub workers: Vec<Worker>,
    folder: PathBuf,
    started: Cell<u32>,
}

impl<'a> Stage<'a> {
    pub fn set(language: &'a dyn Language) -> Stage<'a> {
        let folder = guardian::folder("worker");
        for file in language.files() {
            let code = block(&format!("worker: {file}"));
            assert!(code.len() < 80, "{file} has {} lines, too many to be read on one screen", code.len());
            std::fs::write(folder.join(file), code.join("\n") + "\n").expect("a file of the worker");
        }
        // The page's catalog, with times that a test can wait for.
        let catalog = block("catalog: webhook").join("\n");
        let short = catalog.replace("\"30s\"", "\"4s\"").replace("\"2s\"", "\"50ms\"");
        assert!(short.contains("\"4s\"") && short.contains("\"50ms\""), "{catalog}");
        let redis = Redis::builder().catalog(short).append_only().config("appendfsync", "always").start();
        Stage { language, redis, receiver: Receiver::start(), workers: Vec::new(), folder, started: Cell::new(0) }
    }

    pub fn start_worker(&self) -> Worker {
        self.started.set(self.started.get() + 1);
        let output = self.folder.join(format!("output-{}", self.started.get()));
        let file = std::fs::File::options().create(true).append(true).open(&output).expect("a file for its output");
        let mut command = self.language.command(&self.folder);
        command.arg(format!("redis://127.0.0.1:{}", self.redis.port()));
        command.stdin(Stdio::null()).stderr(file.try_clone().expect("the same file")).stdout(file);
        let worker = Worker { process: Process::spawn(&mut command, "KILL"), output };
        let clients = || self.redis.run("CLIENT LIST").text().matches("cmd=bear.claim").count();
        // Where another one runs already, or is halted, there are claimers of its own.
        eventually("it claims", || clients() > 0);
        worker
    }

    /// The oldest one that runs.
    pub fn worker(&mut self) -> &mut Worker {
        self.workers.first_mut().expect("a worker runs")
    }

    /// A job that tells of an event at these paths.
    pub fn enqueue(&self, paths: &[&str]) -> String {
        let urls: Vec<String> = paths.iter().map(|path| self.receiver.url(path)).collect();
        let data = serde_json::json!({ "urls": urls, "event": { "order": 7 } }).to_string();
        self.redis.wire().call(&["BEAR.ENQUEUE", "webhook", "DELIVER", &data]).text()
    }

    pub fn completed(&mut self, id: &str) -> Value {
        self.record("completed", id)
    }

    pub fn failed(&mut self, id: &str) -> Value {
        self.record("failed", id)
    }

    /// The job's record, once it has settled so.
    fn record(&mut self, state: &str, id: &str) -> Value {
        let key = format!("webhook:queue:work:{state}");
        let find = || {
            let entries = self.redis.run(&format!("XRANGE {key} - +")).list().to_vec();
            let words =
                entries.iter().flat_map(|entry| entry.list()[1].list().iter().map(Reply::text).collect::<Vec<_>>());
            let words: Vec<String> = words.collect();
            let at = words.iter().position(|word| word == id)?;
            // A completed one's id is the field of its record; a failed one has fields of their own.
            let at = if state == "completed" { at + 1 } else { at + 2 };
            words.get(at).map(|record| serde_json::from_str(record).expect("a record is JSON"))
        };
        wait_for(&format!("job {id} is {state}"), find)
    }

    /// BEAR.EXTEND commands so far.
    pub fn extended(&self) -> i64 {
        self.extend_count("calls=")
    }

    /// Those that were answered by an error.
    pub fn refused_extends(&self) -> i64 {
        self.extend_count("failed_calls=")
    }

    fn extend_count(&self, name: &str) -> i64 {
        let info = self.redis.info("commandstats");
        let line = info.get("cmdstat_bear.extend").unwrap_or_default().to_owned();
        let field = line.split(',').find_map(|field| field.strip_prefix(name)).map(str::to_owned);
        field.map_or(0, |count| count.parse().expect("a number"))
    }
}

pub struct Worker {
    process: Process,
    output: PathBuf,
}

impl Worker {
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn end(self, signal: Signal) {
        self.process.end(signal);
    }

    /// Ends by itself, and says so by its exit code, once it was asked to: after the ten seconds that it may take, or earlier.
    pub fn ended_well(mut self) -> bool {
        let ended = wait_at_most(Duration::from_secs(30), || self.process.ended());
        ended.is_some_and(|status| status.success())
    }
}

fn block(note: &str) -> Vec<String> {
    let found = blocks(&read(PAGE)).into_iter().find(|block| block.note.as_deref() == Some(note));
    found.unwrap_or_else(|| panic!("{PAGE} has no block <!-- {note} -->")).lines
}
