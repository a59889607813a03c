//! What happened, by the append-only file: each unit is a step of a small machine that knows the rules. What a client was told is
//! compared with it afterwards (`check`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::rules::{parse_id, End, Id, Set, Space};
use crate::support::{Command, Unit};

#[derive(Default)]
pub struct History {
    pub spaces: BTreeMap<String, Space>,
    pub claims: usize,
    pub expired: usize,
}

/// The space, and which of its keys of claimed jobs; `work` alone has an empty part.
fn key_of(key: &str) -> Option<(&str, &str)> {
    let (space, rest) = key.split_once(":queue:work")?;
    Some((space, rest.strip_prefix(':').unwrap_or(rest)))
}

impl History {
    /// Of what follows the marker.
    pub fn read(units: &[Unit], marker: &str) -> Result<History, String> {
        let is_marker = |unit: &Unit| unit.iter().any(|command| command.name() == "SET" && command.text(2) == marker);
        let at = units.iter().rposition(is_marker).ok_or("the marker is not in the append-only file")?;
        let mut history = History::default();
        for unit in &units[at + 1..] {
            history.step(unit).map_err(|fault| format!("{fault}\nby {unit:?}"))?;
        }
        Ok(history)
    }

    fn step(&mut self, unit: &Unit) -> Result<(), String> {
        let outcomes = outcomes(unit);
        for command in unit {
            let key = command.text(1);
            if let Some(name) = key.strip_suffix(":queue:paused") {
                self.spaces.entry(name.to_owned()).or_default().is_paused = command.name() == "SET";
            }
            let Some((name, part)) = key_of(&key) else { continue };
            let args: Vec<String> = (2..command.0.len()).map(|index| command.text(index)).collect();
            if !self.spaces.contains_key(name) {
                self.spaces.insert(name.to_owned(), Space::default());
            }
            let space = self.spaces.get_mut(name).expect("just now");
            let fault = match (command.name().as_str(), part) {
                ("XADD", "") => space.enqueue(&args),
                ("ZADD", "delayed") => space.each(args.chunks_exact(2).map(|pair| &pair[1]), |job| {
                    job.delayed = true;
                    Ok(())
                }),
                ("ZREM", "delayed") => space.each(args.iter(), |job| {
                    job.delayed = false;
                    Ok(())
                }),
                ("HSET", "claims") => args.chunks_exact(2).try_for_each(|pair| {
                    self.claims += usize::from(space.claim(name, &pair[0], &pair[1])?);
                    Ok(())
                }),
                ("HDEL", "claims") => space.each(args.iter(), |job| {
                    job.claim = None;
                    Ok(())
                }),
                ("HSET", "attempts") => args.chunks_exact(2).try_for_each(|pair| {
                    self.expired += usize::from(space.attempt(&pair[0], &pair[1])?);
                    Ok(())
                }),
                ("HSET", "data") => args.chunks_exact(2).try_for_each(|pair| space.update(&pair[0], &pair[1])),
                ("HSET", "limits") => {
                    let mut pairs = args.chunks_exact(2).filter(|pair| pair[0] != "by");
                    pairs.try_for_each(|pair| space.set.read(&pair[0], &pair[1]))
                }
                ("DEL", "limits") => {
                    space.set = Set::default();
                    Ok(())
                }
                ("XDEL", "") => args.iter().try_for_each(|id| space.settle(id, &outcomes)),
                ("DEL" | "UNLINK", "" | "claims" | "token") => Err(format!("{key} is deleted")),
                _ => Ok(()),
            };
            fault.map_err(|fault| format!("{name}: {fault}"))?;
        }
        for name in unit.iter().filter_map(|command| Some(key_of(&command.text(1))?.0.to_owned())) {
            self.spaces[&name].check().map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(())
    }
}

/// Of the jobs that a unit settles.
fn outcomes(unit: &Unit) -> BTreeMap<Id, End> {
    let mut ends = BTreeMap::new();
    let record = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    for command in unit.iter().filter(|command| command.name() == "XADD") {
        let key = command.text(1);
        let words: Vec<String> = (3..command.0.len()).map(|index| command.text(index)).collect();
        let pairs = words.chunks_exact(2);
        match key_of(&key) {
            Some((_, "completed")) => ends.extend(pairs.filter_map(|pair| {
                Some((parse_id(&pair[0])?, End::Completed(record(&pair[1])["token"].as_u64().unwrap_or(0))))
            })),
            Some((_, "failed")) => {
                let get = |name: &str| pairs.clone().find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
                let record = record(get("record").unwrap_or_default());
                let is_cancelled = record["token"].is_null()
                    && record["error"]["message"].as_str() == Some(super::operator::CANCELLED);
                let end = if is_cancelled { End::Cancelled } else { End::Failed };
                ends.extend(get("id").and_then(parse_id).map(|id| (id, end)));
            }
            _ => {}
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(lines: &[&str]) -> Unit {
        let command = |line: &&str| Command(line.split(' ').map(|word| word.as_bytes().to_vec()).collect());
        lines.iter().map(command).collect()
    }

    fn claim(id: &str, token: u64, ms: u64, attempt: u32) -> String {
        format!(
            "HSET lane:queue:work:claims {id} {{\"token\":{token},\"started\":{ms},\"lease_ms\":1000,\"attempt\":{attempt}}}"
        )
    }

    fn enqueue(id: &str, to: &str) -> String {
        format!("XADD lane:queue:work {id} v 1 job STEP data {{\"mark\":\"m{id}\",\"to\":\"{to}\"}}")
    }

    fn fault_of(units: &[Vec<String>]) -> Option<String> {
        let mut all = vec![unit(&["SET marker now"])];
        all.extend(units.iter().map(|lines| unit(&lines.iter().map(String::as_str).collect::<Vec<_>>())));
        History::read(&all, "now").err()
    }

    #[test]
    fn a_right_history_has_no_fault_and_wrong_ones_have() {
        let done = |id: &str, token: u64| {
            vec![
                format!("XADD lane:queue:work:completed 9-0 t STEP {id} {{\"token\":{token}}}"),
                format!("XDEL lane:queue:work {id}"),
                format!("HDEL lane:queue:work:claims {id}"),
            ]
        };
        let right = vec![
            vec![enqueue("1-0", "x")],
            vec![enqueue("2-0", "x")],
            vec![claim("1-0", 10, 100, 1)],
            done("1-0", 10),
            vec![claim("2-0", 11, 200, 1)],
            done("2-0", 11),
        ];
        assert_eq!(fault_of(&right), None);
        let wrong: [(&str, Vec<Vec<String>>); 6] = [
            ("is held by token", vec![right[0].clone(), right[2].clone(), vec![claim("1-0", 12, 100, 1)]]),
            ("before m1-0 of its order", vec![right[0].clone(), right[1].clone(), right[4].clone()]),
            (
                "given token 10 after 10",
                vec![right[0].clone(), vec![enqueue("2-0", "y")], right[2].clone(), vec![claim("2-0", 10, 1, 1)]],
            ),
            ("its last claim was", vec![right[0].clone(), right[2].clone(), done("1-0", 9)]),
            ("without an outcome", vec![right[0].clone(), right[2].clone(), vec!["XDEL lane:queue:work 1-0".into()]]),
            (
                "nobody held it",
                vec![
                    right[0].clone(),
                    right[2].clone(),
                    vec!["HDEL lane:queue:work:claims 1-0".into()],
                    done("1-0", 10),
                ],
            ),
        ];
        for (words, units) in wrong {
            let fault = fault_of(&units).unwrap_or_else(|| panic!("nothing is said: {words}"));
            assert!(fault.contains(words), "{fault}");
        }
    }
}
