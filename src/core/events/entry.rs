//! What is published of cached results: one was stored, or some are served no more and why. A removal is one message for each
//! space of which it took something, however many entries that were.

use super::text::{cut, MAX_LISTED};
use crate::core::claims::json::Object;
use crate::core::jobs::job_id::JobId;

/// An entry was stored.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    pub key: &'a [u8],
    pub bytes: u64,
    /// Rows of the result.
    pub rows: u32,
    /// How long it will be served, unless something drops it before.
    pub ttl_ms: u64,
}

impl Stored<'_> {
    /// Appends the message to `out`.
    pub fn write(&self, space: &str, at_ms: u64, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.text("event", "stored");
        object.text("space", space);
        object.text("key", &String::from_utf8_lossy(self.key));
        object.number("bytes", self.bytes);
        object.number("rows", self.rows.into());
        object.number("ttl_ms", self.ttl_ms);
        object.number("at", at_ms);
        object.end();
    }
}

/// Why entries are served no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// BEAR.INVALIDATE … ROW, CHANGED or IMAGE.
    Row(Rows),
    /// BEAR.INVALIDATE … TAG.
    Tag(Listed),
    /// BEAR.INVALIDATE … QUERY, PATTERN or ALL.
    Command,
    /// Jobs changed rows.
    Job { jobs: Listed, rows: Rows },
    /// Others changed rows.
    Feed(Rows),
    /// What was stored before some time is not trusted: another catalog, another Postgres, a feed that begins or is lost, a key that
    /// another hand has written.
    Cold,
    /// A newer result was answered, and is not stored.
    Newer,
}

/// The first of some names, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    names: Vec<Box<str>>,
    count: u64,
}

impl Listed {
    pub fn new(names: impl Iterator<Item = impl AsRef<str>>) -> Listed {
        let mut listed = Listed::default();
        for name in names {
            if listed.names.len() < MAX_LISTED {
                listed.names.push(cut(name.as_ref()).into());
            }
            listed.count += 1;
        }
        listed
    }

    pub fn of_jobs(ids: impl Iterator<Item = JobId>) -> Listed {
        let (mut count, mut names) = (0, Vec::new());
        for id in ids {
            if names.len() < MAX_LISTED {
                names.push(id.to_string().into());
            }
            count += 1;
        }
        Listed { names, count }
    }

    /// All of them, or else how many there are.
    fn write(&self, object: &mut Object, (name, count_name): (&str, &str)) {
        if self.count as usize > self.names.len() {
            object.number(count_name, self.count);
        } else if self.count > 0 {
            object.texts(name, self.names.iter().map(AsRef::as_ref));
        }
    }
}

/// Rows of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    pub of: Box<str>,
    /// None: any.
    pub ids: Option<Listed>,
}

impl Rows {
    fn write(&self, object: &mut Object) {
        object.text("of", &self.of);
        if let Some(ids) = &self.ids {
            ids.write(object, ("rows", "row_count"));
        }
    }
}

impl Cause {
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Row(_) => "row",
            Cause::Tag(_) => "tag",
            Cause::Command => "command",
            Cause::Job { .. } => "job",
            Cause::Feed(_) => "feed",
            Cause::Cold => "cold",
            Cause::Newer => "newer",
        }
    }

    fn write(&self, object: &mut Object) {
        object.text("why", self.name());
        match self {
            Cause::Row(rows) | Cause::Feed(rows) => rows.write(object),
            Cause::Tag(tags) => tags.write(object, ("tags", "tag_count")),
            Cause::Job { jobs, rows } => {
                jobs.write(object, ("jobs", "job_count"));
                rows.write(object);
            }
            Cause::Command | Cause::Cold | Cause::Newer => {}
        }
    }
}

/// Entries of one space that are served no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone {
    pub count: u64,
    /// All of them, where they are few.
    keys: Vec<Box<[u8]>>,
}

impl Gone {
    pub fn add(&mut self, key: &[u8]) {
        self.count += 1;
        if self.keys.len() < MAX_LISTED {
            self.keys.push(key.into());
        } else {
            self.keys.clear();
            self.keys.shrink_to_fit();
        }
    }
}

/// Appends the message of a removal to `out`; `pattern` matches all keys that may have gone.
pub fn write_invalidated(space: &str, cause: &Cause, gone: &Gone, pattern: &[u8], at_ms: u64, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    object.text("event", "invalidated");
    object.text("space", space);
    cause.write(&mut object);
    object.number("count", gone.count);
    if gone.keys.len() as u64 == gone.count {
        object.texts("keys", gone.keys.iter().map(|key| String::from_utf8_lossy(key)));
    } else {
        object.text("pattern", &String::from_utf8_lossy(pattern));
    }
    object.number("at", at_ms);
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(count: usize) -> Gone {
        let mut gone = Gone::default();
        (0..count).for_each(|number| gone.add(format!("bear:colors {number}").as_bytes()));
        gone
    }

    fn invalidated(cause: &Cause, gone: &Gone) -> String {
        let mut out = Vec::new();
        write_invalidated("bear", cause, gone, b"bear:*", 17, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        let rest = text.strip_prefix(r#"{"event":"invalidated","space":"bear","why":"#).expect("the beginning");
        rest.strip_suffix(r#","at":17}"#).expect("the end").to_owned()
    }

    #[test]
    fn a_stored_entry_is_told_with_its_key() {
        let mut out = Vec::new();
        Stored { key: b"bear:all", bytes: 90, rows: 3, ttl_ms: 300_000 }.write("bear", 17, &mut out);
        let expected =
            r#"{"event":"stored","space":"bear","key":"bear:all","bytes":90,"rows":3,"ttl_ms":300000,"at":17}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn a_removal_says_why() {
        let ids = Some(Listed::new(["5", "a\"b"].into_iter()));
        let rows = Rows { of: "color".into(), ids };
        let any = Rows { of: "color".into(), ids: None };
        let jobs = Listed::of_jobs([JobId { ms: 7, seq: 1 }].into_iter());
        let many = Listed::new(std::iter::repeat_n("x", 21));
        let keys = r#""count":1,"keys":["bear:colors 0"]"#;
        let table = [
            (Cause::Row(rows.clone()), format!(r#""row","of":"color","rows":["5","a\"b"],{keys}"#)),
            (Cause::Tag(Listed::new(["red"].into_iter())), format!(r#""tag","tags":["red"],{keys}"#)),
            (Cause::Tag(many.clone()), format!(r#""tag","tag_count":21,{keys}"#)),
            (Cause::Command, format!(r#""command",{keys}"#)),
            (Cause::Job { jobs, rows: any.clone() }, format!(r#""job","jobs":["7-1"],"of":"color",{keys}"#)),
            (
                Cause::Job { jobs: many.clone(), rows: Rows { ids: Some(many), ..any.clone() } },
                format!(r#""job","job_count":21,"of":"color","row_count":21,{keys}"#),
            ),
            (Cause::Feed(any), format!(r#""feed","of":"color",{keys}"#)),
            (Cause::Cold, format!(r#""cold",{keys}"#)),
            (Cause::Newer, format!(r#""newer",{keys}"#)),
        ];
        for (cause, expected) in table {
            assert_eq!(invalidated(&cause, &gone(1)), expected, "{cause:?}");
        }
    }

    #[test]
    fn many_entries_are_a_count_and_a_pattern() {
        let of = |count: usize| {
            let text = invalidated(&Cause::Command, &gone(count));
            text.strip_prefix(r#""command","#).expect("the cause").to_owned()
        };
        assert_eq!(of(0), r#""count":0,"keys":[]"#);
        assert_eq!(of(20).matches("bear:colors").count(), 20);
        for many in [21, 22, 100_000] {
            assert_eq!(of(many), format!(r#""count":{many},"pattern":"bear:*""#));
        }
    }
}
