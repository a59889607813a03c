//! A replication connection: the start of a session, simple queries, and the stream of changes.
//!
//! Its own small client of the protocol, because the driver has no CopyBoth. Invariant: no method waits longer than it is
//! told, and a stop ends every wait at once; a connection whose message was cut short by either is of no more use.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{select, Either};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

use super::control::FeedControl;

/// A status update is small; a peer that does not take it is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Longest message: Postgres' own limit for a value, and what is around it.
const MAX_MESSAGE: usize = (1 << 30) + (1 << 20);

/// Why the connection is of no more use, or a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{message}")]
    Server { sqlstate: Box<str>, message: Box<str> },
    #[error("Postgres sent what does not belong here ({0})")]
    Protocol(&'static str),
    #[error("{0}")]
    Refused(String),
    #[error("no answer in time")]
    Silent,
    #[error("stopped")]
    Stopped,
}

pub(super) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// A message of the server: its tag and its body.
pub(super) type Packet = (u8, Bytes);

/// Rows of a simple query as text.
pub(super) type TextRows = Vec<Vec<Option<String>>>;

pub(super) struct Wire {
    pipe: Box<dyn Pipe>,
    input: BytesMut,
    pub(super) output: BytesMut,
}

impl Wire {
    pub(super) fn new(pipe: Box<dyn Pipe>) -> Wire {
        Wire { pipe, input: BytesMut::with_capacity(64 << 10), output: BytesMut::new() }
    }

    /// Sends what has been put into `output`.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        let out = self.output.split();
        self.pipe.write_all(&out).await?;
        Ok(self.pipe.flush().await?)
    }

    /// The next message; notices are left out and errors are errors. Nothing is lost where it is not waited for.
    pub(super) async fn packet(&mut self) -> Result<Packet, WireError> {
        loop {
            if let Some(packet) = self.received()? {
                return Ok(packet);
            }
            self.input.reserve(16 << 10);
            if self.pipe.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Postgres closed the connection").into());
            }
        }
    }

    /// The same, if it has been received already.
    fn received(&mut self) -> Result<Option<Packet>, WireError> {
        loop {
            match split_packet(&mut self.input)? {
                Some((b'E', body)) => return Err(server_error(&body)),
                Some((b'N' | b'S' | b'A', _)) => {}
                packet => return Ok(packet),
            }
        }
    }

    /// Runs one command; its rows.
    async fn query(&mut self, sql: &str) -> Result<TextRows, WireError> {
        frontend::query(sql, &mut self.output)?;
        self.flush().await?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            match self.packet().await {
                Ok((b'D', body)) => rows.push(data_row(&body)?),
                Ok((b'Z', _)) => return failed.map_or(Ok(rows), Err),
                Ok(_) => {}
                Err(error @ WireError::Server { .. }) if failed.is_none() => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    async fn start_streaming(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, &mut self.output)?;
        self.flush().await?;
        match self.packet().await? {
            (b'W', _) => Ok(()),
            _ => Err(WireError::Protocol("no stream was begun")),
        }
    }

    async fn send_streamed(&mut self, data: &[u8]) -> Result<(), WireError> {
        frontend::CopyData::new(data)?.write(&mut self.output);
        self.flush().await
    }
}

/// A replication connection, driven by the calling thread while it waits.
pub(super) struct Stream {
    // Before what it runs on.
    wire: Wire,
    waits: Waits,
}

impl Stream {
    pub(super) fn new(wire: Wire, waits: Waits) -> Stream {
        Stream { wire, waits }
    }

    /// Rows of a command, as text.
    pub(super) fn query(&mut self, sql: &str, until: Instant) -> Result<TextRows, WireError> {
        let Stream { wire, waits } = self;
        waits.until(until, wire.query(sql))
    }

    /// The same for a command that may take as long as others' transactions: `each` is called every second and ends it.
    pub(super) fn query_patiently(
        &mut self,
        sql: &str,
        mut each: impl FnMut() -> Result<(), String>,
    ) -> Result<TextRows, WireError> {
        let Stream { wire, waits } = self;
        let mut query = pin!(wire.query(sql));
        loop {
            match waits.until(Instant::now() + Duration::from_secs(1), query.as_mut()) {
                Err(WireError::Silent) => each().map_err(WireError::Refused)?,
                result => return result,
            }
        }
    }

    pub(super) fn start_streaming(&mut self, sql: &str, until: Instant) -> Result<(), WireError> {
        let Stream { wire, waits } = self;
        waits.until(until, wire.start_streaming(sql))
    }

    /// The next piece of the stream; None where none came in time, or there is another catalog.
    pub(super) fn next(&mut self, until: Instant) -> Result<Option<Bytes>, WireError> {
        let Stream { wire, waits } = self;
        let control = waits.control.clone();
        let work = async {
            // What has been received of a message is kept.
            match select(pin!(wire.packet()), pin!(control.called())).await {
                Either::Left((packet, _)) => packet.and_then(streamed),
                Either::Right(_) => Err(WireError::Silent),
            }
        };
        match waits.until(until, work) {
            Ok(body) => Ok(Some(body)),
            Err(WireError::Silent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next piece that has been received already: neither the network nor a clock is asked.
    pub(super) fn received(&mut self) -> Result<Option<Bytes>, WireError> {
        self.wire.received()?.map(streamed).transpose()
    }

    pub(super) fn send(&mut self, data: &[u8]) -> Result<(), WireError> {
        let Stream { wire, waits } = self;
        waits.until(Instant::now() + WRITE_LIMIT, wire.send_streamed(data))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Stream { wire, waits } = self;
        // So that the walsender ends, and its slot with it, at once and not when it next writes. Whether it is read is
        // not waited for.
        frontend::terminate(&mut wire.output);
        waits.at_once(wire.flush());
    }
}

/// Waiting with an end: on one thread, until a time, or until the feed is stopped.
pub(super) struct Waits {
    /// Some until dropped.
    runtime: Option<Runtime>,
    control: Arc<FeedControl>,
}

impl Waits {
    pub(super) fn new(control: Arc<FeedControl>) -> io::Result<Waits> {
        Ok(Waits { runtime: Some(Builder::new_current_thread().enable_all().build()?), control })
    }

    pub(super) fn until<T>(
        &self,
        until: Instant,
        work: impl Future<Output = Result<T, WireError>>,
    ) -> Result<T, WireError> {
        let stopped = self.control.stopped();
        let Some(runtime) = &self.runtime else { return Err(WireError::Stopped) };
        runtime.block_on(async {
            // Here, for a timer belongs to the runtime.
            let timed = timeout_at(until.into(), work);
            match select(pin!(timed), pin!(stopped)).await {
                Either::Left((Ok(result), _)) => result,
                Either::Left((Err(_), _)) => Err(WireError::Silent),
                Either::Right(_) => Err(WireError::Stopped),
            }
        })
    }

    /// Does what can be done without waiting, even once stopped.
    fn at_once(&self, work: impl Future<Output = Result<(), WireError>>) {
        if let Some(runtime) = &self.runtime {
            let _ = runtime.block_on(async { timeout_at(Instant::now().into(), work).await });
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // A name server that does not answer must not hold the thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A piece of the stream.
fn streamed(packet: Packet) -> Result<Bytes, WireError> {
    match packet {
        (b'd', body) => Ok(body),
        (b'c', _) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Postgres ended the stream").into()),
        _ => Err(WireError::Protocol("within a stream")),
    }
}

/// A whole message, if one is there.
fn split_packet(input: &mut BytesMut) -> Result<Option<Packet>, WireError> {
    let Some(&[tag, a, b, c, d]) = input.first_chunk::<5>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=MAX_MESSAGE).contains(&length) {
        return Err(WireError::Protocol("a message of an impossible length"));
    }
    if input.len() <= length {
        input.reserve(length + 1 - input.len());
        return Ok(None);
    }
    let mut packet = input.split_to(length + 1).freeze();
    packet.advance(5);
    Ok(Some((tag, packet)))
}

/// Fields of an error: a letter and a text each.
fn server_error(body: &[u8]) -> WireError {
    let field = |letter: u8| {
        let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&letter));
        found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    };
    let mut message = field(b'M').unwrap_or_else(|| "an error without a text".to_owned());
    for more in [field(b'D'), field(b'H')].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(&more);
    }
    WireError::Server { sqlstate: field(b'C').unwrap_or_default().into(), message: message.into() }
}

fn data_row(mut body: &[u8]) -> Result<Vec<Option<String>>, WireError> {
    let short = || WireError::Protocol("a row that ends early");
    let count = body.try_get_u16().map_err(|_| short())?;
    let mut cells = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        cells.push(match body.try_get_i32().map_err(|_| short())? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| short())?;
                let (text, rest) = body.split_at_checked(length).ok_or_else(short)?;
                body = rest;
                Some(String::from_utf8_lossy(text).into_owned())
            }
        });
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_where_they_end() {
        let mut input = BytesMut::from(&b"Z\0\0\0\x05Id\0\0\0\x06ab"[..]);
        assert_eq!(split_packet(&mut input).unwrap(), Some((b'Z', Bytes::from_static(b"I"))));
        let whole = input.clone();
        for end in 0..whole.len() {
            assert_eq!(split_packet(&mut BytesMut::from(&whole[..end])).unwrap(), None);
        }
        assert_eq!(split_packet(&mut input).unwrap(), Some((b'd', Bytes::from_static(b"ab"))));
        for wrong in [&b"d\0\0\0\x03"[..], b"d\xff\xff\xff\xff"] {
            assert!(split_packet(&mut BytesMut::from(wrong)).is_err());
        }
    }

    #[test]
    fn errors_have_their_code_and_hint() {
        let error = server_error(b"SFATAL\0C42501\0Mmust be\0Hdo it\0\0");
        assert_eq!(error.to_string(), "must be; do it");
        assert!(matches!(error, WireError::Server { sqlstate, .. } if &*sqlstate == "42501"));
    }

    #[test]
    fn rows_are_text_or_null() {
        assert_eq!(data_row(b"\0\x02\xff\xff\xff\xff\0\0\0\x01x").unwrap(), [None, Some("x".to_owned())]);
        assert!(data_row(b"\0\x01\0\0\0\x02x").is_err());
    }
}
