//! What tests of schedules share: what BEAR.SCHEDULES says.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::support::{Clock, Reply, Wire};

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

/// The ticks whose jobs stand in the stream of claimed jobs, in its order, each as often as it stands there.
#[track_caller]
pub fn enqueued(wire: &mut Wire, space: &str, name: &str) -> Vec<u64> {
    let prefix = format!("schedule:{name}:");
    let entries = wire.run(&format!("XRANGE {space}:queue:work - +"));
    let uniques = entries.list().iter().filter_map(|entry| {
        let fields: Vec<String> = entry.list()[1].list().iter().map(Reply::text).collect();
        let unique = fields.chunks_exact(2).find(|pair| pair[0] == "unique")?[1].clone();
        unique.strip_prefix(&prefix)?.parse().ok()
    });
    uniques.collect()
}

/// An hour, in milliseconds.
pub const HOUR: u64 = 3_600_000;

/// A clock that stands at half past some hour, its shift, and that hour's Unix time in ms: what is due every hour is half an hour away.
pub fn half_past() -> (Clock, i64, u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    let shift = 1_800 - (now % 3_600) as i64;
    let clock = Clock::new();
    clock.shift(shift);
    (clock, shift, now / 3_600 * HOUR)
}

/// The shift by which a clock shows this moment now.
pub fn shift_to(moment: &str) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs() as i64;
    unix_seconds(moment) - now
}

/// `2026-10-25T00:30:00` as Unix time.
pub fn unix_seconds(moment: &str) -> i64 {
    let numbers: Vec<i64> = moment.split(['-', 'T', ':']).map(|part| part.parse().expect("a number")).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("{moment}") };
    // Days since 1970, by years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}
