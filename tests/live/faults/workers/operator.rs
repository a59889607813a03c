//! An operator: promotes, cancels, updates, retries, cleans, pauses and limits, while all else goes on.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::worker::{Control, Sign};
use crate::support::{Random, Reply, Wire};

/// What it says of jobs that it cancels.
pub const CANCELLED: &str = "cancelled-by-the-operator";

const SPACES: [&str; 5] = ["work", "lane", "tight", "{t1}:mail", "{t2}:mail"];

/// Returns answers that should never come.
pub fn start(port: u16, control: &Control, mut random: Random) -> JoinHandle<Vec<String>> {
    let control = control.clone();
    thread::spawn(move || {
        let mut odd = Vec::new();
        while !control.is(Sign::Honest) {
            let Ok(mut wire) = Wire::try_connect(port) else { continue };
            wire.set_patience(Duration::from_secs(5));
            while !control.is(Sign::Honest) {
                thread::sleep(Duration::from_millis(random.below(40) as u64));
                let Some((words, reply)) = act(&mut wire, &mut random) else { break };
                let Reply::Error(line) = &reply else { continue };
                match line.split(' ').next().unwrap_or_default() {
                    "LOADING" | "READONLY" | "UNBLOCKED" | "MASTERDOWN" => {}
                    // The job has gone, or is what it should not be, meanwhile.
                    "ERR" if ["UPDATE", "CANCEL"].iter().any(|name| words[0].ends_with(name)) => {}
                    _ => odd.push(format!("{words:?}: {line}")),
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        odd
    })
}

/// None: the connection is broken.
fn act(wire: &mut Wire, random: &mut Random) -> Option<(Vec<String>, Reply)> {
    let space = *random.one(&SPACES.each_ref());
    let words: Vec<String> = match random.below(16) {
        0..=1 => vec!["BEAR.PROMOTE".into(), space.into(), "ALL".into()],
        2 => {
            ask(wire, &["BEAR.PAUSE".into(), space.into()])?;
            thread::sleep(Duration::from_millis(random.below(30) as u64));
            vec!["BEAR.RESUME".into(), space.into()]
        }
        3 => vec!["BEAR.RESUME".into(), space.into()],
        4 => vec!["BEAR.LIMITQUEUE".into(), "tight".into(), "DEFAULT".into()],
        5 => ["BEAR.LIMITQUEUE", "tight", "CONCURRENCY", &(1 + random.below(4)).to_string()].map(str::to_owned).into(),
        6..=7 => {
            let (id, _) = some_job(wire, random, space)?;
            vec!["BEAR.CANCEL".into(), space.into(), id, CANCELLED.into()]
        }
        8 => vec!["BEAR.RETRY".into(), space.into(), "ALL".into()],
        9 => {
            let state = random.one(&["completed", "failed"]);
            vec!["BEAR.CLEAN".into(), space.into(), state.into(), "COUNT".into(), "5".into()]
        }
        10 => {
            let rate = format!("{}/s", 20 + random.below(20));
            ["BEAR.LIMITQUEUE", "tight", "RATE", &rate].map(str::to_owned).into()
        }
        11 => {
            let most = (1 + random.below(3)).to_string();
            ["BEAR.LIMITQUEUE", "tight", "BY", "by", "CONCURRENCY", &most].map(str::to_owned).into()
        }
        _ => {
            let (id, mark) = some_job(wire, random, "lane")?;
            let data = format!(r#"{{"mark":"{mark}","to":"{}"}}"#, random.one(&["a", "b", "c", "d"]));
            vec!["BEAR.UPDATE".into(), "lane".into(), id, data]
        }
    };
    let reply = ask(wire, &words)?;
    Some((words, reply))
}

/// The id of a job that has not settled, and its mark; of one that never was where there is none.
fn some_job(wire: &mut Wire, random: &mut Random, space: &str) -> Option<(String, String)> {
    let words = ["XREVRANGE", &format!("{space}:queue:work"), "+", "-", "COUNT", "8"].map(str::to_owned);
    let reply = ask(wire, &words)?;
    let Reply::Array(jobs) = &reply else { return Some(("1-1".into(), "nobody".into())) };
    if jobs.is_empty() {
        return Some(("1-1".into(), "nobody".into()));
    }
    let job = jobs[random.below(jobs.len())].list();
    let data = job[1].map()["data"].json();
    Some((job[0].text(), data["mark"].as_str().unwrap_or_default().to_owned()))
}

fn ask(wire: &mut Wire, words: &[String]) -> Option<Reply> {
    if !wire.try_send(words) {
        return None;
    }
    wire.try_receive().ok()
}
