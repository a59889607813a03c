//! What became of rows and of ticks, by the append-only file: a row is one job at a time, and a tick is one job.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Command, Unit};

/// Of the whole file, of which the round that `marker` begins is told of.
pub fn check(units: &[Unit], marker: &str) -> Result<(), String> {
    let mut taken: BTreeMap<(String, String), String> = BTreeMap::new();
    for command in units.iter().flatten() {
        let key = command.text(1);
        match command.name().as_str() {
            "FLUSHALL" | "FLUSHDB" => taken.clear(),
            "HSET" if key.ends_with(":queue:inbox") => {
                for at in (2..command.0.len() - 1).step_by(2) {
                    let (row, job) = (command.text(at), command.text(at + 1));
                    // What follows the id is what is known of the job.
                    let id = job.split(' ').next().unwrap_or_default().to_owned();
                    match taken.insert((key.clone(), row.clone()), id.clone()) {
                        Some(other) if other != id => {
                            return Err(format!(
                                "{marker}: row {row} of {key} is {other} and has become another job, {id}"
                            ));
                        }
                        _ => {}
                    }
                }
            }
            "HDEL" if key.ends_with(":queue:inbox") => {
                (2..command.0.len()).for_each(|at| drop(taken.remove(&(key.clone(), command.text(at)))));
            }
            "DEL" | "UNLINK" => {
                let gone: BTreeSet<String> = (1..command.0.len()).map(|at| command.text(at)).collect();
                taken.retain(|(key, _), _| !gone.contains(key));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The ticks of a schedule that have been enqueued, in order, by the append-only file.
pub fn ticks(units: &[Unit], name: &str) -> Vec<u64> {
    let prefix = format!("schedule:{name}:");
    let mut ticks = Vec::new();
    for unit in units {
        let words_of = |command: &Command| (2..command.0.len()).map(|at| command.text(at)).collect::<Vec<String>>();
        // One that was given an id as of the inbox is enqueued once more, by the same unit.
        let undone: Vec<String> = unit.iter().filter(|command| command.name() == "XDEL").flat_map(&words_of).collect();
        for command in unit.iter().filter(|command| command.name() == "XADD" && command.text(1).ends_with(":queue")) {
            let words = words_of(command);
            let unique = words.windows(2).find(|pair| pair[0] == "unique").map(|pair| pair[1].clone());
            let tick: Option<u64> = unique.as_deref().and_then(|unique| unique.strip_prefix(&prefix)?.parse().ok());
            ticks.extend(tick.filter(|_| !undone.contains(&words[0])));
        }
    }
    ticks
}
