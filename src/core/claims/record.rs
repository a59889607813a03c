//! How claimed jobs are written to their streams: plain fields, that a person with redis-cli and a later version of this
//! module can read.
//!
//! Format 1 of a job: `v 1 job <name> data <JSON>` and, where they were given, `priority <number>` (where it is not 5), `due
//! <ms>`, `attempts <n>`, `backoff <ms>`, `unique <key>`, `traceparent <text>`. Unknown fields are passed over; a greater `v` is of a newer module.
//! What a job does not say, the catalog says.
//!
//! A claim that began, where there is a rate: `t <token>` and, of a job with a group, `g <group>`.

use super::ready::Group;
use crate::core::jobs::record::{get, number, FieldList, RecordError, FORMAT};
use crate::core::values::priority::{Priority, MAX_PRIORITY};

/// Of jobs that say nothing.
pub const DEFAULT_PRIORITY: Priority = 5;

/// What a client says of a claimed job beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkOptions<'a> {
    /// 1 to 10, 10 first.
    pub priority: Priority,
    /// Unix time in ms before which it is not claimed.
    pub due_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub unique: Option<&'a [u8]>,
    /// Of the trace that it belongs to, see [`crate::core::jobs::traceparent`].
    pub traceparent: Option<&'a [u8]>,
}

impl Default for WorkOptions<'_> {
    fn default() -> Self {
        WorkOptions {
            priority: DEFAULT_PRIORITY,
            due_ms: None,
            attempts: None,
            backoff_ms: None,
            unique: None,
            traceparent: None,
        }
    }
}

/// Numbers of the options in decimal, kept while the fields are written.
#[derive(Default)]
pub struct WorkNumbers {
    priority: String,
    due: String,
    attempts: String,
    backoff: String,
}

impl<'a> WorkOptions<'a> {
    /// Adds the fields of what was given.
    pub fn write<'b>(&self, numbers: &'b mut WorkNumbers, fields: &mut FieldList<'b>)
    where
        'a: 'b,
    {
        let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        *numbers = WorkNumbers {
            priority: text((self.priority != DEFAULT_PRIORITY).then_some(u64::from(self.priority))),
            due: text(self.due_ms),
            attempts: text(self.attempts.map(u64::from)),
            backoff: text(self.backoff_ms),
        };
        let numbers: &'b WorkNumbers = numbers;
        for (name, value) in [
            (&b"priority"[..], &numbers.priority),
            (b"due", &numbers.due),
            (b"attempts", &numbers.attempts),
            (b"backoff", &numbers.backoff),
        ] {
            if !value.is_empty() {
                fields.extend([name, value.as_bytes()]);
            }
        }
        for (name, value) in [(&b"unique"[..], self.unique), (b"traceparent", self.traceparent)] {
            if let Some(value) = value {
                fields.extend([name, value]);
            }
        }
    }

    pub fn read(fields: &[(&'a [u8], &'a [u8])]) -> Result<WorkOptions<'a>, RecordError> {
        let attempts = number(fields, "attempts")?;
        Ok(WorkOptions {
            priority: number(fields, "priority")?
                .map_or(DEFAULT_PRIORITY, |priority| priority.clamp(1, MAX_PRIORITY.into()) as Priority),
            due_ms: number(fields, "due")?,
            attempts: attempts.map(|attempts| attempts.clamp(1, u64::from(u32::MAX)) as u32),
            backoff_ms: number(fields, "backoff")?,
            unique: get(fields, b"unique"),
            traceparent: get(fields, b"traceparent"),
        })
    }
}

/// A claimed job as it stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkRecord<'a> {
    pub name: &'a [u8],
    pub data: &'a [u8],
    pub options: WorkOptions<'a>,
}

impl<'a> WorkRecord<'a> {
    /// The fields to be written.
    pub fn fields<'b>(&'b self, numbers: &'b mut WorkNumbers) -> FieldList<'b> {
        let mut fields = FieldList::new();
        fields.extend([&b"v"[..], b"1", b"job", self.name, b"data", self.data]);
        self.options.write(numbers, &mut fields);
        fields
    }

    pub fn read(fields: &[(&'a [u8], &'a [u8])]) -> Result<WorkRecord<'a>, RecordError> {
        match number(fields, "v")? {
            Some(1) => {}
            Some(newer) if newer > u64::from(FORMAT) => return Err(RecordError::Newer(newer)),
            Some(_) | None => return Err(RecordError::Field("v")),
        }
        Ok(WorkRecord {
            name: get(fields, b"job").ok_or(RecordError::Field("job"))?,
            data: get(fields, b"data").ok_or(RecordError::Field("data"))?,
            options: WorkOptions::read(fields)?,
        })
    }
}

/// A claim that began, as a rate counts it. When it did is its entry's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub token: u64,
    pub group: Group,
}

/// Its numbers in decimal, kept while the fields are written.
#[derive(Default)]
pub struct StartedNumbers {
    token: String,
    group: String,
}

impl Started {
    pub fn fields<'b>(&self, numbers: &'b mut StartedNumbers) -> FieldList<'b> {
        numbers.token = self.token.to_string();
        let mut fields = FieldList::new();
        if let Some(group) = self.group {
            numbers.group = group.to_string();
        }
        fields.extend([&b"t"[..], numbers.token.as_bytes()]);
        if self.group.is_some() {
            fields.extend([&b"g"[..], numbers.group.as_bytes()]);
        }
        fields
    }

    pub fn read(fields: &[(&[u8], &[u8])]) -> Result<Started, RecordError> {
        let token = number(fields, "t")?.ok_or(RecordError::Field("t"))?;
        Ok(Started { token, group: number(fields, "g")? })
    }
}

/// What has happened since the queue began: fields of the hash of totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Claimed,
    Completed,
    Failed,
    Expired,
    Released,
}

impl Total {
    pub const ALL: [Total; 5] = [Total::Claimed, Total::Completed, Total::Failed, Total::Expired, Total::Released];

    pub fn name(self) -> &'static str {
        match self {
            Total::Claimed => "claimed",
            Total::Completed => "completed",
            Total::Failed => "failed",
            Total::Expired => "expired",
            Total::Released => "released",
        }
    }
}

/// All of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals([u64; 5]);

impl Totals {
    pub fn get(&self, total: Total) -> u64 {
        self.0[total as usize]
    }

    /// Counts; returns what is to be written.
    pub fn add(&mut self, total: Total, count: u64) -> u64 {
        let of = &mut self.0[total as usize];
        *of = of.saturating_add(count);
        *of
    }

    /// Fields of the hash; what is no number counts for nothing.
    pub fn read<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Totals {
        let mut totals = Totals::default();
        for (name, value) in fields {
            let known = Total::ALL.into_iter().find(|total| total.name().as_bytes() == name);
            let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            if let (Some(total), Some(value)) = (known, value) {
                totals.0[total as usize] = value;
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(fields: &FieldList<'a>) -> Vec<(&'a [u8], &'a [u8])> {
        fields.chunks(2).map(|pair| (pair[0], pair[1])).collect()
    }

    #[test]
    fn jobs_are_read_as_written() {
        let plain = WorkRecord { name: b"SEND", data: b"{}", options: WorkOptions::default() };
        let full = WorkOptions {
            priority: 10,
            due_ms: Some(5),
            attempts: Some(9),
            backoff_ms: Some(0),
            unique: Some(b""),
            traceparent: Some(b"00"),
        };
        for (record, count) in [(plain, 3), (WorkRecord { options: full, ..plain }, 9)] {
            let mut numbers = WorkNumbers::default();
            let fields = record.fields(&mut numbers);
            let pairs = pairs(&fields);
            assert_eq!(pairs.len(), count);
            assert_eq!(WorkRecord::read(&pairs), Ok(record));
        }
    }

    #[test]
    fn a_plain_job_is_written_without_an_allocation() {
        let record = WorkRecord { name: b"SEND", data: b"{}", options: WorkOptions::default() };
        let mut numbers = WorkNumbers::default();
        assert!(!record.fields(&mut numbers).spilled());
        assert!([numbers.priority, numbers.due, numbers.attempts, numbers.backoff]
            .iter()
            .all(|text| text.capacity() == 0));
    }

    #[test]
    fn entries_of_other_hands_are_no_jobs() {
        let read = |fields: &[(&str, &str)]| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            WorkRecord::read(&fields).map(|record| record.options.priority)
        };
        let of_job = |more: (&'static str, &'static str)| read(&[("v", "1"), ("job", "X"), ("data", "1"), more]);
        assert_eq!(read(&[]), Err(RecordError::Field("v")));
        assert_eq!(read(&[("v", "2")]), Err(RecordError::Newer(2)));
        assert_eq!(read(&[("v", "1"), ("data", "")]), Err(RecordError::Field("job")));
        assert_eq!(read(&[("v", "1"), ("job", "X")]), Err(RecordError::Field("data")));
        assert_eq!(of_job(("later", "x")), Ok(5));
        assert_eq!((of_job(("priority", "10")), of_job(("priority", "99999999999"))), (Ok(10), Ok(MAX_PRIORITY)));
        assert_eq!(of_job(("priority", "high")), Err(RecordError::Field("priority")));
    }

    #[test]
    fn starts_are_read_as_written() {
        for started in [Started { token: 1 << 52, group: None }, Started { token: 1, group: Some(u64::MAX) }] {
            let mut numbers = StartedNumbers::default();
            assert_eq!(Started::read(&pairs(&started.fields(&mut numbers))), Ok(started));
        }
        assert_eq!(Started::read(&[(b"g", b"1")]), Err(RecordError::Field("t")));
    }

    #[test]
    fn totals_are_read_tolerantly() {
        let fields: [(&[u8], &[u8]); 3] = [(b"claimed", b"7"), (b"expired", b"x"), (b"later", b"1")];
        let mut totals = Totals::read(fields.into_iter());
        assert_eq!((totals.add(Total::Claimed, 2), totals.get(Total::Expired)), (9, 0));
    }
}
