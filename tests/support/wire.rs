//! A connection that shows replies exactly as they came: the text of an error, a null of RESP2 or RESP3, the order of
//! pipelined answers. Arguments may be any bytes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take before the test fails.
const REPLY_PATIENCE: Duration = Duration::from_secs(30);

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// One reply as it came over the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Simple(String),
    /// The whole line: `ERR …`, `TIMEOUT …`.
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1` and `*-1` of RESP2, `_` of RESP3.
    Nil,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Double(f64),
    Bool(bool),
    Verbatim(String),
    Push(Vec<Reply>),
}

pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects to a server on this machine; RESP2 until `HELLO 3`.
    pub fn connect(port: u16) -> Wire {
        Wire::try_connect(port).unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}"))
    }

    pub fn try_connect(port: u16) -> io::Result<Wire> {
        Wire::try_connect_to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// To a server that is elsewhere, within five seconds.
    pub fn try_connect_to(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_PATIENCE))?;
        stream.set_write_timeout(Some(REPLY_PATIENCE))?;
        Ok(Wire { reader: BufReader::new(stream) })
    }

    /// Sends the words of `line`, split at blanks, and returns the reply.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.call(&words(line))
    }

    /// Sends one command and returns its reply.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(args);
        self.receive()
    }

    /// Sends the words of `line` without waiting for the reply.
    #[track_caller]
    pub fn begin(&mut self, line: &str) {
        self.send(&words(line));
    }

    /// Sends one command without waiting for its reply.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_bytes(&packed(args));
    }

    /// False where the server has closed the connection.
    pub fn try_send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> bool {
        self.try_send_bytes(&packed(args))
    }

    /// False where the server has closed the connection.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the server takes what is sent");
    }

    /// The next reply.
    #[track_caller]
    pub fn receive(&mut self) -> Reply {
        match self.try_receive() {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    pub fn try_receive(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.reader)
    }

    /// Whether no byte of a reply arrives within `time`. Only for what must not happen, never to wait for what should.
    pub fn silent_for(&mut self, time: Duration) -> bool {
        if !self.reader.buffer().is_empty() {
            return false;
        }
        self.set_patience(time);
        let silent = match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(_) => true,
        };
        self.set_patience(REPLY_PATIENCE);
        silent
    }

    pub fn set_patience(&self, time: Duration) {
        self.reader.get_ref().set_read_timeout(Some(time)).expect("a time above zero");
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.set_patience(REPLY_PATIENCE);
        matches!(self.reader.fill_buf(), Ok([]) | Err(_))
    }

    /// `CLIENT ID` of this connection.
    #[track_caller]
    pub fn id(&mut self) -> i64 {
        self.run("CLIENT ID").int()
    }

    pub fn reader(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.reader
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

/// One command in the form that clients send.
pub fn packed<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Reply {
    /// The text of a bulk, simple or verbatim string.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Reply::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("text in UTF-8"),
            Reply::Simple(text) | Reply::Verbatim(text) => text.clone(),
            other => panic!("text was expected, got {other:?}"),
        }
    }

    /// The content of a bulk string, and of nothing else.
    #[track_caller]
    pub fn bulk(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) => bytes,
            other => panic!("a bulk string was expected, got {other:?}"),
        }
    }

    /// A bulk string read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.bulk()).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(number) => *number,
            other => panic!("an integer was expected, got {other:?}"),
        }
    }

    /// The line of an error.
    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Reply::Error(line) => line,
            other => panic!("an error was expected, got {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Reply::Nil)
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == "OK")
    }

    /// The elements of an array or a set.
    #[track_caller]
    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            other => panic!("an array was expected, got {other:?}"),
        }
    }

    /// The texts of an array or a set, sorted.
    #[track_caller]
    pub fn sorted_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.list().iter().map(Reply::text).collect();
        texts.sort();
        texts
    }

    /// A map of RESP3, or a flat array of names and values of RESP2.
    #[track_caller]
    pub fn map(&self) -> BTreeMap<String, Reply> {
        match self {
            Reply::Map(pairs) => pairs.iter().map(|(name, value)| (name.text(), value.clone())).collect(),
            Reply::Array(items) if items.len() % 2 == 0 => {
                items.chunks_exact(2).map(|pair| (pair[0].text(), pair[1].clone())).collect()
            }
            other => panic!("a map was expected, got {other:?}"),
        }
    }
}

/// Reads one value of RESP2 or RESP3.
pub fn read_reply(reader: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(reader)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| broken("an empty line"))?;
    let number = || rest.parse::<i64>().map_err(|_| broken(&line));
    Ok(match kind {
        "+" => Reply::Simple(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()?),
        "_" => Reply::Nil,
        "#" => Reply::Bool(rest == "t"),
        "," => Reply::Double(rest.parse().map_err(|_| broken(&line))?),
        "$" | "=" | "!" => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Nil) };
            let bytes = read_bulk(reader, length)?;
            match kind {
                "$" => Reply::Bulk(bytes),
                "!" => Reply::Error(String::from_utf8_lossy(&bytes).into_owned()),
                _ => Reply::Verbatim(String::from_utf8_lossy(&bytes[4.min(bytes.len())..]).into_owned()),
            }
        }
        "*" | "~" | ">" => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Nil) };
            let items = (0..length).map(|_| read_reply(reader)).collect::<io::Result<Vec<_>>>()?;
            match kind {
                "*" => Reply::Array(items),
                "~" => Reply::Set(items),
                _ => Reply::Push(items),
            }
        }
        "%" => {
            let pairs = (0..number()?)
                .map(|_| Ok((read_reply(reader)?, read_reply(reader)?)))
                .collect::<io::Result<Vec<_>>>()?;
            Reply::Map(pairs)
        }
        _ => return Err(broken(&line)),
    })
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    while line.is_empty() || line == b"\n" {
        line.clear(); // a bare newline keeps a replica's link alive while it waits for its snapshot
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
    }
    if !line.ends_with(b"\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_bulk(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn broken(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {line:?}"))
}
