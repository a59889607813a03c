//! HTTP by hand: what a scraper sends, and what is answered.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// One request on a connection of its own. None where it ends without an answer.
pub fn try_get(port: u16, path: &str, headers: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: BTreeMap<String, String> = headers.collect();
    let is_chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
    let body = if is_chunked { joined(body)? } else { body.to_owned() };
    Some(Answer { status, headers, body })
}

/// The chunks of a body, one after the other; None where the last is missing.
fn joined(mut chunked: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = chunked.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        chunked = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[track_caller]
pub fn get(port: u16, path: &str) -> Answer {
    try_get(port, path, "").unwrap_or_else(|| panic!("no answer to {path} on {port}"))
}

/// The samples of a text of metrics, by name and labels as they stand there.
#[derive(Debug, Clone)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    pub fn parse(text: &str) -> Samples {
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        });
        Samples(samples.collect())
    }

    #[track_caller]
    pub fn of(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} among {:#?}", self.0.keys()))
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Of all labels together.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let of_name = self.0.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        of_name.map(|(_, value)| *value).reduce(|a, b| a + b)
    }
}

#[track_caller]
pub fn scrape(port: u16) -> Samples {
    let answer = get(port, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    Samples::parse(&answer.body)
}
