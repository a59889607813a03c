//! Messages of the replication stream and of pgoutput's protocol 1, taken apart. Pure.

use crate::core::feed::{Cell, RowChange, Tuple};

/// Microseconds from 1970 to 2000, where Postgres' clock begins.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A message that is not as the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Postgres sent a message that cannot be read ({0})")]
pub(super) struct Malformed(&'static str);

/// What a message of the stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Data(&'a [u8]),
    /// All that was committed before this place has been sent.
    Keepalive {
        position: u64,
        reply: bool,
    },
}

/// What pgoutput says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Begin {
        xid: u32,
        committed_us: i64,
    },
    Commit {
        end: u64,
    },
    Relation(Relation),
    Row {
        relation: u32,
        change: RowChange<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// A type, an origin.
    Other,
}

/// A table as it is from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) name: Box<str>,
    pub(super) columns: Vec<Box<str>>,
}

pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let mut input = Input(bytes);
    match input.u8()? {
        b'w' => {
            input.take(24)?;
            Ok(Frame::Data(input.0))
        }
        b'k' => {
            let position = input.u64()?;
            input.take(8)?;
            Ok(Frame::Keepalive { position, reply: input.u8()? != 0 })
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

pub(super) fn message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut input = Input(bytes);
    Ok(match input.u8()? {
        b'B' => {
            input.take(8)?;
            let committed_us = input.u64()? as i64 + EPOCH_US;
            Message::Begin { xid: input.u32()?, committed_us }
        }
        b'C' => {
            input.take(9)?;
            Message::Commit { end: input.u64()? }
        }
        b'R' => Message::Relation(relation(&mut input)?),
        b'I' => {
            let relation = input.u32()?;
            input.expect(b'N')?;
            Message::Row { relation, change: RowChange::Insert(input.tuple(false)?) }
        }
        b'U' => {
            let relation = input.u32()?;
            let old = match input.u8()? {
                kind @ (b'K' | b'O') => {
                    let old = input.tuple(kind == b'K')?;
                    input.expect(b'N')?;
                    Some(old)
                }
                b'N' => None,
                _ => return Err(Malformed("an unknown tuple")),
            };
            Message::Row { relation, change: RowChange::Update { old, new: input.tuple(false)? } }
        }
        b'D' => {
            let relation = input.u32()?;
            let key_only = match input.u8()? {
                b'K' => true,
                b'O' => false,
                _ => return Err(Malformed("an unknown tuple")),
            };
            Message::Row { relation, change: RowChange::Delete(input.tuple(key_only)?) }
        }
        b'T' => {
            let count = input.u32()?;
            input.take(1)?;
            let relations = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        b'Y' | b'O' | b'M' => Message::Other,
        _ => return Err(Malformed("an unknown message")),
    })
}

fn relation(input: &mut Input<'_>) -> Result<Relation, Malformed> {
    let oid = input.u32()?;
    let (schema, table) = (input.text()?, input.text()?);
    input.take(1)?;
    let mut columns = Vec::new();
    for _ in 0..input.u16()? {
        input.take(1)?;
        columns.push(input.text()?.into());
        input.take(8)?;
    }
    Ok(Relation { oid, name: format!("{schema}.{table}").into(), columns })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it ends early"))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.number().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.number().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.number().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.number().map(u64::from_be_bytes)
    }

    fn expect(&mut self, tag: u8) -> Result<(), Malformed> {
        (self.u8()? == tag).then_some(()).ok_or(Malformed("a new row is missing"))
    }

    /// Up to a NUL.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed("a name does not end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| Malformed("a name is not UTF-8"))
    }

    fn tuple(&mut self, key_only: bool) -> Result<Tuple<'a>, Malformed> {
        let count = usize::from(self.u16()?);
        let mut cells = Vec::with_capacity(count);
        for _ in 0..count {
            cells.push(match self.u8()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length = self.u32()?;
                    Cell::Text(self.take(length as usize)?)
                }
                _ => return Err(Malformed("a cell in another format")),
            });
        }
        Ok(Tuple { key_only, cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[Cell<'_>]) -> Vec<u8> {
        let mut out = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                Cell::Null => out.push(b'n'),
                Cell::Unchanged => out.push(b'u'),
                Cell::Text(text) => {
                    out.push(b't');
                    out.extend((text.len() as u32).to_be_bytes());
                    out.extend_from_slice(text);
                }
            }
        }
        out
    }

    #[test]
    fn rows_are_read_and_any_prefix_of_them_is_malformed() {
        let (old, new) = ([Cell::Text(b"1"), Cell::Null], [Cell::Text(b"22"), Cell::Unchanged]);
        let tuple = |key_only, cells: &[Cell<'static>]| Tuple { key_only, cells: cells.to_vec() };
        let join = |parts: &[&[u8]]| parts.concat();
        let oid = 7_u32.to_be_bytes();
        for (bytes, change) in [
            (join(&[b"I", &oid, b"N", &cells(&new)]), RowChange::Insert(tuple(false, &new))),
            (join(&[b"D", &oid, b"K", &cells(&old)]), RowChange::Delete(tuple(true, &old))),
            (join(&[b"D", &oid, b"O", &cells(&old)]), RowChange::Delete(tuple(false, &old))),
            (join(&[b"U", &oid, b"N", &cells(&new)]), RowChange::Update { old: None, new: tuple(false, &new) }),
            (
                join(&[b"U", &oid, b"K", &cells(&old), b"N", &cells(&new)]),
                RowChange::Update { old: Some(tuple(true, &old)), new: tuple(false, &new) },
            ),
        ] {
            for end in 0..bytes.len() {
                assert!(message(&bytes[..end]).is_err(), "{:?}", &bytes[..end]);
            }
            assert_eq!(message(&bytes), Ok(Message::Row { relation: 7, change }));
        }
    }

    #[test]
    fn a_relation_has_its_columns() {
        let bytes = [b"R\0\0\0\x07s\0t\0d\0\x02".as_slice(), b"\x01id\0\0\0\0\x17\0\0\0\0", b"\0x\0\0\0\0\x17\0\0\0\0"]
            .concat();
        let columns = vec!["id".into(), "x".into()];
        assert_eq!(message(&bytes), Ok(Message::Relation(Relation { oid: 7, name: "s.t".into(), columns })));
    }

    #[test]
    fn frames_and_answers() {
        let mut keepalive = vec![b'k'];
        keepalive.extend(5_u64.to_be_bytes());
        keepalive.extend([0; 8]);
        keepalive.push(1);
        assert_eq!(frame(&keepalive), Ok(Frame::Keepalive { position: 5, reply: true }));
        let data = [b"w".as_slice(), &[0; 24], b"B"].concat();
        assert_eq!(frame(&data), Ok(Frame::Data(b"B")));
        let answer = status_update(9, EPOCH_US + 1, true);
        assert_eq!((answer.len(), answer[24], answer[32], answer[33]), (34, 9, 1, 1));
    }
}
