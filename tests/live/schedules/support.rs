//! What tests of schedules share: what BEAR.SCHEDULES says.

use std::collections::BTreeMap;

use crate::support::{Reply, Wire};

/// What BEAR.SCHEDULES says of one schedule.
pub type ScheduleMap = BTreeMap<String, Reply>;

#[track_caller]
pub fn schedules(wire: &mut Wire, space: &str) -> Vec<ScheduleMap> {
    let reply = wire.run(&format!("BEAR.SCHEDULES {space}"));
    assert!(!reply.is_error(), "{reply:?}");
    reply.list().iter().map(Reply::map).collect()
}

#[track_caller]
pub fn schedule(wire: &mut Wire, space: &str, name: &str) -> ScheduleMap {
    let all = schedules(wire, space);
    let found = all.iter().find(|one| one["name"].text() == name);
    found.unwrap_or_else(|| panic!("no schedule {name} of {space}: {all:?}")).clone()
}

/// How many ticks were carried out.
#[track_caller]
pub fn count(wire: &mut Wire, space: &str, name: &str) -> i64 {
    schedule(wire, space, name)["count"].int()
}

/// The next ticks.
#[track_caller]
pub fn next(wire: &mut Wire, space: &str, name: &str) -> Vec<i64> {
    schedule(wire, space, name)["next"].list().iter().map(Reply::int).collect()
}

/// The ticks whose jobs stand in the queue, by the UNIQUE keys of a schedule: sorted.
#[track_caller]
pub fn ticks(wire: &mut Wire, space: &str, name: &str) -> Vec<u64> {
    let keys = wire.run(&format!("HKEYS {space}:queue:unique:jobs")).sorted_texts();
    let prefix = format!("schedule:{name}:");
    let mut ticks: Vec<u64> = keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect();
    ticks.sort_unstable();
    ticks
}
