//! A worker's connection: it acknowledges what it holds and claims the next jobs in one pipeline. Reads no more of a reply than it
//! needs, for on a small machine the client's time is taken from the server's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use crate::support::wire::packed;

const BUFFER: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// Words of a job's map, names included, and where the id and the token are in it.
const WORDS: usize = 20;
const ID: usize = 1;
const TOKEN: usize = 11;

pub struct Connection {
    stream: TcpStream,
    input: Box<[u8]>,
    /// What of it has been read and not been looked at.
    unread: Range<usize>,
    output: Vec<u8>,
    ack: Vec<u8>,
    claim: Vec<u8>,
    /// Jobs that have been acknowledged in what was sent last.
    acknowledged: usize,
}

enum Item<'a> {
    Bulk(&'a [u8]),
    Int(&'a [u8]),
    Array(usize),
    Other(&'a [u8]),
}

impl Connection {
    /// One that claims so many jobs at once.
    pub fn new(port: u16, space: &str, count: usize) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let count = count.to_string();
        let claim: &[&str] = match &*count {
            "1" => &["BEAR.CLAIM", space],
            count => &["BEAR.CLAIM", space, "COUNT", count],
        };
        Connection {
            stream,
            input: vec![0; BUFFER].into(),
            unread: 0..0,
            output: Vec::with_capacity(BUFFER),
            // What follows the number of words.
            ack: packed(&["BEAR.ACK", space]).split_off(b"*2\r\n".len()),
            claim: packed(claim),
            acknowledged: 0,
        }
    }

    /// The first claim.
    pub fn begin(&mut self) {
        self.output.clear();
        self.output.extend_from_slice(&self.claim);
        self.stream.write_all(&self.output).expect("the server lives");
    }

    /// Reads the answers to what was sent, acknowledges what it was given and claims the next. False where it was given nothing.
    /// Also how many jobs were acknowledged.
    pub fn turn(&mut self) -> (bool, usize) {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        if acknowledged > 0 {
            self.read_accepted(acknowledged);
        }
        let jobs = self.read_claimed();
        if jobs > 0 {
            self.output.extend_from_slice(&self.claim);
            self.stream.write_all(&self.output).expect("the server lives");
            self.acknowledged = jobs;
        }
        (jobs > 0, acknowledged)
    }

    fn read_accepted(&mut self, sent: usize) {
        let accepted = self.read(|input| {
            let (item, rest) = item(input)?;
            match item {
                Item::Int(_) if sent == 1 => Some((1, rest)),
                Item::Array(2) if sent > 1 => {
                    let (Item::Int(accepted), rest) = self::item(rest)? else { panic!("a number was expected") };
                    let (Item::Array(0), rest) = self::item(rest)? else { panic!("some were refused") };
                    Some((number(accepted), rest))
                }
                _ => unexpected(item),
            }
        });
        assert_eq!(accepted, sent, "jobs accepted");
    }

    /// Puts the acknowledgement of all jobs that it is given into the output.
    fn read_claimed(&mut self) -> usize {
        let mut output = std::mem::take(&mut self.output);
        let ack = std::mem::take(&mut self.ack);
        let jobs = self.read(|input| {
            output.clear();
            let (Item::Array(jobs), mut rest) = item(input)? else { unexpected(item(input)?.0) };
            if jobs > 0 {
                write!(output, "*{}\r\n", 2 + 2 * jobs).expect("memory");
                output.extend_from_slice(&ack);
            }
            for _ in 0..jobs {
                let (Item::Array(WORDS), mut words) = item(rest)? else { panic!("not the map of a job") };
                for at in 0..WORDS {
                    let (word, next) = item(words)?;
                    if let (ID | TOKEN, Item::Bulk(text) | Item::Int(text)) = (at, word) {
                        write!(output, "${}\r\n", text.len()).expect("memory");
                        output.extend_from_slice(text);
                        output.extend_from_slice(b"\r\n");
                    }
                    words = next;
                }
                rest = words;
            }
            Some((jobs, rest))
        });
        (self.output, self.ack) = (output, ack);
        jobs
    }

    /// Reads until `parse` finds all that it needs.
    fn read(&mut self, mut parse: impl FnMut(&[u8]) -> Option<(usize, &[u8])>) -> usize {
        loop {
            if let Some((value, rest)) = parse(&self.input[self.unread.clone()]) {
                self.unread.start = self.unread.end - rest.len();
                return value;
            }
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            let read = self.stream.read(&mut self.input[self.unread.end..]).expect("the server answers");
            assert!(read > 0, "the server has closed the connection, or a reply is too long");
            self.unread.end += read;
        }
    }
}

/// The next item and what follows; None where it is not all there yet.
fn item(input: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\r')?;
    let (line, rest) = (&input[..end], input.get(end + 2..)?);
    Some(match line[0] {
        b':' => (Item::Int(&line[1..]), rest),
        b'*' => (Item::Array(number(&line[1..])), rest),
        b'$' => {
            let len = number(&line[1..]);
            (Item::Bulk(rest.get(..len)?), rest.get(len + 2..)?)
        }
        _ => (Item::Other(line), rest),
    })
}

fn number(text: &[u8]) -> usize {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("a number")
}

fn unexpected(item: Item) -> ! {
    let text = match item {
        Item::Bulk(text) | Item::Int(text) | Item::Other(text) => String::from_utf8_lossy(text).into_owned(),
        Item::Array(len) => format!("an array of {len}"),
    };
    panic!("not what was expected: {text}")
}
