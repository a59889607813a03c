//! Messages of the replication stream and of the plugin test_decoding, taken apart. Pure.
//!
//! The plugin writes text: `table public.bear: UPDATE: old-key: id[integer]:5 new-tuple: id[integer]:6 name[text]:'Ko'`.
//! It needs no publication, and so nothing in the database that an UPDATE of the application could fail by.

use std::borrow::Cow;

use crate::core::feed::{Cell, RowChange, Tuple};
use crate::core::values::datetime::read_micros;

/// Microseconds from 1970 to 2000, where Postgres' clock begins.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A message that is not as the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Postgres sent a message that cannot be read ({0})")]
pub(super) struct Malformed(&'static str);

/// What a message of the stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Data {
        /// Of a COMMIT: where it ends in the WAL.
        position: u64,
        text: &'a [u8],
    },
    /// All that was committed before this place has been sent.
    Keepalive { position: u64, reply: bool },
}

/// What the plugin says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Begin {
        xid: u32,
    },
    Commit {
        committed_us: i64,
    },
    /// A changed row of a table, which is named as SQL does, with its schema.
    Row {
        table: &'a [u8],
        row: Row<'a>,
    },
    Truncate {
        tables: Vec<&'a [u8]>,
    },
    /// A message that somebody put into the WAL.
    Other,
}

/// What became of a row: the rest of its message, not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a>(&'a [u8]);

/// The same, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed<'a> {
    Insert(Vec<Found<'a>>),
    Update { old: Option<Vec<Found<'a>>>, new: Vec<Found<'a>> },
    Delete(Vec<Found<'a>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Null,
    /// Not told, for it is as it was.
    Unchanged,
    /// Not told.
    Unclear,
    Text(Cow<'a, [u8]>),
}

/// The columns that are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) columns: &'a [Box<str>],
    /// The old row is logged whole: a column that it lacks was NULL.
    pub(super) identity_is_full: bool,
    /// The stream is not converted: in a database of another encoding only ASCII means what it says.
    pub(super) is_utf8: bool,
}

pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let (head, rest) = bytes.split_first().ok_or(Malformed("it ends early"))?;
    let (position, rest) = rest.split_first_chunk::<8>().ok_or(Malformed("it ends early"))?;
    let position = u64::from_be_bytes(*position);
    match head {
        b'w' => rest.get(16..).map(|text| Frame::Data { position, text }).ok_or(Malformed("it ends early")),
        b'k' => {
            let reply = rest.get(8).ok_or(Malformed("it ends early"))?;
            Ok(Frame::Keepalive { position, reply: *reply != 0 })
        }
        _ => Err(Malformed("an unknown frame")),
    }
}

/// Tells the server how far everything has been received; `reply` asks for a keepalive at once.
pub(super) fn status_update(position: u64, now_us: i64, reply: bool) -> Vec<u8> {
    let mut out = vec![b'r'];
    for _ in 0..3 {
        out.extend(position.to_be_bytes());
    }
    out.extend((now_us - EPOCH_US).to_be_bytes());
    out.push(u8::from(reply));
    out
}

pub(super) fn message(text: &[u8]) -> Result<Message<'_>, Malformed> {
    if let Some(rest) = text.strip_prefix(b"table ") {
        return changed(Input(rest));
    }
    if let Some(xid) = text.strip_prefix(b"BEGIN ") {
        let xid = std::str::from_utf8(xid).ok().and_then(|xid| xid.parse().ok());
        return xid.map(|xid| Message::Begin { xid }).ok_or(Malformed("a transaction without a number"));
    }
    if text.starts_with(b"COMMIT ") {
        let committed_us = committed_us(text).ok_or(Malformed("a COMMIT without a time"))?;
        return Ok(Message::Commit { committed_us });
    }
    match text.starts_with(b"message: ") {
        true => Ok(Message::Other),
        false => Err(Malformed("an unknown message")),
    }
}

/// Of `COMMIT 731 (at 2026-11-28 01:51:50.672258+00)`, in microseconds since 1970.
fn committed_us(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, time) = text.split_once(" (at ")?;
    read_micros(time.strip_suffix(')')?.as_bytes())
}

fn changed(mut input: Input<'_>) -> Result<Message<'_>, Malformed> {
    let mut tables = vec![input.relation()?];
    while input.skip(b", ") {
        tables.push(input.relation()?);
    }
    if !input.skip(b": ") {
        return Err(Malformed("a table without a change"));
    }
    if input.skip(b"TRUNCATE: ") {
        return Ok(Message::Truncate { tables });
    }
    match &tables[..] {
        [table] => Ok(Message::Row { table, row: Row(input.0) }),
        _ => Err(Malformed("a row of several tables")),
    }
}

impl<'a> Row<'a> {
    pub(super) fn is_delete(self) -> bool {
        self.0.starts_with(b"DELETE:")
    }

    /// The columns that are wanted, in their order.
    pub(super) fn read(self, wanted: Wanted<'_>) -> Result<Changed<'a>, Malformed> {
        let mut input = Input(self.0);
        if input.skip(b"INSERT:") {
            return Ok(Changed::Insert(input.cells(wanted, Found::Unclear, Rest::Ignored)?));
        }
        let absent = if wanted.identity_is_full { Found::Null } else { Found::Unclear };
        if input.skip(b"DELETE:") {
            return Ok(Changed::Delete(input.cells(wanted, absent, Rest::Ignored)?));
        }
        if !input.skip(b"UPDATE:") {
            return Err(Malformed("an unknown change"));
        }
        let old = match input.skip(b" old-key:") {
            true => Some(input.cells(wanted, absent, Rest::Read)?),
            false => None,
        };
        input.skip(b" new-tuple:");
        Ok(Changed::Update { old, new: input.cells(wanted, Found::Unclear, Rest::Ignored)? })
    }
}

impl Changed<'_> {
    pub(super) fn as_change(&self) -> RowChange<'_> {
        match self {
            Changed::Insert(new) => RowChange::Insert(tuple(new)),
            Changed::Update { old, new } => RowChange::Update { old: old.as_deref().map(tuple), new: tuple(new) },
            Changed::Delete(old) => RowChange::Delete(tuple(old)),
        }
    }
}

fn tuple<'a>(cells: &'a [Found<'_>]) -> Tuple<'a> {
    let cell = |found: &'a Found<'_>| match found {
        Found::Null => Cell::Null,
        Found::Unchanged => Cell::Unchanged,
        Found::Unclear => Cell::Unclear,
        Found::Text(text) => Cell::Text(text),
    };
    // What an old row lacks is unclear already.
    Tuple { key_only: false, cells: cells.iter().map(cell).collect() }
}

struct Input<'a>(&'a [u8]);

/// Of a row whose wanted columns have all been found: does anything come behind it?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Read,
    Ignored,
}

impl<'a> Input<'a> {
    fn skip(&mut self, prefix: &[u8]) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn split(&mut self, at: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(at).ok_or(Malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// `schema.name`, with its quotes.
    fn relation(&mut self) -> Result<&'a [u8], Malformed> {
        let schema = identifier_end(self.0, 0)?;
        if self.0.get(schema) != Some(&b'.') {
            return Err(Malformed("a table without a schema"));
        }
        let end = identifier_end(self.0, schema + 1)?;
        self.split(end)
    }

    /// Cells until there are no more. One that is not there becomes `absent`: a column that is not what it was when the
    /// table was looked at is unclear, too.
    fn cells(&mut self, wanted: Wanted<'_>, absent: Found<'a>, rest: Rest) -> Result<Vec<Found<'a>>, Malformed> {
        let mut cells = vec![absent; wanted.columns.len()];
        let mut missing = cells.len();
        if self.skip(b" (no-tuple-data)") {
            cells.fill(Found::Unclear);
        }
        while self.0.first() == Some(&b' ') && !self.0.starts_with(b" new-tuple:") {
            // A row may be large, and its key comes first as a rule.
            if missing == 0 && rest == Rest::Ignored {
                break;
            }
            let end = identifier_end(self.0, 1)?;
            let name = &self.split(end)?[1..];
            self.skip_type()?;
            let at = wanted.columns.iter().position(|column| is_named(name, column));
            let cell = self.cell()?;
            if let Some(asked) = at.and_then(|at| cells.get_mut(at)) {
                missing = missing.saturating_sub(1);
                *asked = match &cell {
                    Found::Text(text) if !wanted.is_utf8 && !text.is_ascii() => Found::Unclear,
                    _ => cell,
                };
            }
        }
        Ok(cells)
    }

    /// `[integer]:`, `[text[]]:`, `["odd ] name"]:`
    fn skip_type(&mut self) -> Result<(), Malformed> {
        let (mut at, mut depth) = (0, 0_usize);
        loop {
            match self.0.get(at).ok_or(Malformed("a type does not end"))? {
                b'[' => depth += 1,
                b']' => depth -= 1,
                b'"' => at = quoted_end(self.0, at, b'"')? - 1,
                _ if depth == 0 => return Err(Malformed("a column without a type")),
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        self.split(at)?;
        match self.skip(b":") {
            true => Ok(()),
            false => Err(Malformed("a column without a value")),
        }
    }

    fn cell(&mut self) -> Result<Found<'a>, Malformed> {
        // Bits are B'101'.
        self.skip(b"B");
        if self.0.first() == Some(&b'\'') {
            let end = quoted_end(self.0, 0, b'\'')?;
            let quoted = self.split(end)?;
            return Ok(Found::Text(unquoted(&quoted[1..end - 1], b'\'')));
        }
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        match self.split(end)? {
            b"null" => Ok(Found::Null),
            b"unchanged-toast-datum" => Ok(Found::Unchanged),
            // A type whose text is quoted has no such values.
            b"" => Err(Malformed("an empty value")),
            text => Ok(Found::Text(Cow::Borrowed(text))),
        }
    }
}

/// Where the identifier ends that begins at `at`.
fn identifier_end(text: &[u8], at: usize) -> Result<usize, Malformed> {
    if text.get(at) == Some(&b'"') {
        return quoted_end(text, at, b'"');
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = text.get(at..).unwrap_or_default().iter().take_while(|byte| is_plain(byte)).count();
    match length {
        0 => Err(Malformed("a name is missing")),
        length => Ok(at + length),
    }
}

/// Where the quoted text ends whose quote is at `at`; a doubled quote is part of it.
fn quoted_end(text: &[u8], at: usize, quote: u8) -> Result<usize, Malformed> {
    let mut end = at + 1;
    loop {
        end += text
            .get(end..)
            .and_then(|rest| rest.iter().position(|byte| *byte == quote))
            .ok_or(Malformed("a quote does not end"))?
            + 1;
        if text.get(end) != Some(&quote) {
            return Ok(end);
        }
        end += 1;
    }
}

fn unquoted(text: &[u8], quote: u8) -> Cow<'_, [u8]> {
    if !text.contains(&quote) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == quote {
            bytes.next();
        }
    }
    Cow::Owned(out)
}

/// Is that the column, as SQL writes it?
fn is_named(written: &[u8], column: &str) -> bool {
    match written.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(quoted) => *unquoted(quoted, b'"') == *column.as_bytes(),
        None => written == column.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Found<'_> {
        Found::Text(Cow::Borrowed(text.as_bytes()))
    }

    fn row(line: &str) -> (&str, Row<'_>) {
        match message(line.as_bytes()) {
            Ok(Message::Row { table, row }) => (std::str::from_utf8(table).unwrap(), row),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn read<'a>(line: &'a str, columns: &[&str], identity_is_full: bool) -> Changed<'a> {
        let columns: Vec<Box<str>> = columns.iter().map(|column| (*column).into()).collect();
        row(line).1.read(Wanted { columns: &columns, identity_is_full, is_utf8: true }).unwrap()
    }

    #[test]
    fn rows_are_told_by_their_columns() {
        let insert = "table public.t: INSERT: id[integer]:1 x[boolean]:true n[numeric]:-1.50 a[text[]]:'{a,b]}' \
            \"we]ird \"\"c\"[text]:'it''s new-tuple: x' d[date]:null \"od d\"[\"od]d\".\"T y\"]:'' b[bit]:B'101' \
            l[text]:unchanged-toast-datum";
        assert_eq!(row(insert).0, "public.t");
        let all = ["id", "x", "n", "a", "we]ird \"c", "d", "od d", "b", "l", "gone"];
        let told = vec![
            text("1"),
            text("true"),
            text("-1.50"),
            text("{a,b]}"),
            text("it's new-tuple: x"),
            Found::Null,
            text(""),
            text("101"),
            Found::Unchanged,
            Found::Unclear,
        ];
        assert_eq!(read(insert, &all, false), Changed::Insert(told));
        assert_eq!(read("table a.t: INSERT: (no-tuple-data)", &["id"], true), Changed::Insert(vec![Found::Unclear]));
        assert_eq!(read("table a.t: INSERT:", &[], true), Changed::Insert(vec![]));
    }

    #[test]
    fn what_an_old_row_lacks_was_null_only_where_all_of_it_is_logged() {
        let update = "table a.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 x[text]:'b'";
        for (is_full, lacking) in [(true, Found::Null), (false, Found::Unclear)] {
            let (old, new) = (Some(vec![text("1"), lacking.clone()]), vec![text("2"), text("b")]);
            assert_eq!(read(update, &["id", "x"], is_full), Changed::Update { old, new });
            let delete = "table a.t: DELETE: id[integer]:1";
            assert_eq!(read(delete, &["id", "x"], is_full), Changed::Delete(vec![text("1"), lacking]));
        }
        let update = "table a.t: UPDATE: id[integer]:2 x[text]:'b'";
        assert_eq!(read(update, &["id"], false), Changed::Update { old: None, new: vec![text("2")] });
        let delete = "table a.t: DELETE: (no-tuple-data)";
        assert_eq!(read(delete, &["id"], true), Changed::Delete(vec![Found::Unclear]));
        // A full row of nothing but NULLs.
        let update = "table a.t: UPDATE: old-key: new-tuple: x[text]:null";
        let (old, new) = (Some(vec![Found::Null]), vec![Found::Null]);
        assert_eq!(read(update, &["x"], true), Changed::Update { old, new });
    }

    #[test]
    fn transactions_truncates_and_names() {
        assert_eq!(message(b"BEGIN 731"), Ok(Message::Begin { xid: 731 }));
        let commit = message(b"COMMIT 731 (at 1970-01-02 00:00:01.5+00)");
        assert_eq!(commit, Ok(Message::Commit { committed_us: 86_401_500_000 }));
        let truncate = message(b"table \"S: p\".\"T\"\"x, \", b.c: TRUNCATE: restart_seqs cascade");
        let tables = vec![&b"\"S: p\".\"T\"\"x, \""[..], b"b.c"];
        assert_eq!(truncate, Ok(Message::Truncate { tables }));
        assert_eq!(message(b"message: transactional: 1 prefix: bear, sz: 0 content:"), Ok(Message::Other));
        assert_eq!(row("table \"\u{e4} \".\"x\": INSERT: a[integer]:1").0, "\"\u{e4} \".\"x\"");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_nothing_is_taken_for_another_thing() {
        let columns: [Box<str>; 2] = ["a".into(), "b".into()];
        let wanted = Wanted { columns: &columns, identity_is_full: false, is_utf8: true };
        for line in [
            "",
            "TABLE",
            "BEGIN x",
            "BEGIN ",
            "COMMIT 7",
            "COMMIT 7 (at noon)",
            "table",
            "table x: INSERT:",
            "table a.: INSERT:",
            "table a.b INSERT:",
            "table a.b, c: INSERT:",
            "table a.b, c.d: INSERT:",
            "table \"a.b: INSERT:",
        ] {
            assert!(message(line.as_bytes()).is_err(), "{line}");
        }
        for line in [
            "table a.b: UPSERT: a[text]:'x'",
            "table a.b: INSERT: a",
            "table a.b: INSERT: a[text",
            "table a.b: INSERT: a[text]",
            "table a.b: INSERT: a[text]:",
            "table a.b: INSERT: a[text]:'x",
            "table a.b: INSERT: a[text]: b[text]:'x'",
            "table a.b: INSERT: a:1",
            "table a.b: INSERT: a[\"x]:1",
            "table a.b: UPDATE: old-key: a[text]:'x",
        ] {
            assert!(row(line).1.read(wanted).is_err(), "{line}");
        }
        let told = Changed::Insert(vec![text("x"), Found::Null]);
        let behind = row("table a.b: INSERT: b[text]:null a[text]:'x' c[bytea]:'never looked at");
        assert_eq!(behind.1.read(wanted), Ok(told));
    }

    #[test]
    fn frames_and_answers() {
        let mut keepalive = vec![b'k'];
        keepalive.extend(5_u64.to_be_bytes());
        keepalive.extend([0; 8]);
        keepalive.push(1);
        assert_eq!(frame(&keepalive), Ok(Frame::Keepalive { position: 5, reply: true }));
        let data = [b"w".as_slice(), &7_u64.to_be_bytes(), &[0; 16], b"B"].concat();
        assert_eq!(frame(&data), Ok(Frame::Data { position: 7, text: b"B" }));
        for end in 0..25 {
            assert!(frame(&data[..end]).is_err(), "{end}");
        }
        let answer = status_update(9, EPOCH_US + 1, true);
        assert_eq!((answer.len(), answer[24], answer[32], answer[33]), (34, 9, 1, 1));
    }
}
