//! A webhook: an HTTP server that remembers who told it what, and answers by the path.
//!
//! | path | answer |
//! |---|---|
//! | `/broken` | 500 |
//! | `/gone` | 410 |
//! | `/hold/…` | 200, once the test opens it |
//! | any other | 200 |

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::eventually;

pub struct Receiver {
    port: u16,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    told: Vec<Told>,
    open: Vec<String>,
}

/// A request.
struct Told {
    path: String,
    /// The header by which a receiver knows one that is sent again.
    key: String,
    /// The header by which it knows one that is late.
    token: u64,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Held,
    Answered,
    /// The client has closed the connection.
    GivenUp,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let calls: Arc<Mutex<Calls>> = Arc::default();
        let shared = calls.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Receiver { port, calls }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Answers those that wait at this path, and those that come.
    pub fn open(&self, path: &str) {
        self.calls.lock().expect("no panic").open.push(path.to_owned());
    }

    /// Waits until so many have come to a path.
    pub fn wait_for(&self, path: &str, count: usize) {
        eventually(&format!("{count} requests for {path}"), || self.tokens(path).len() >= count);
    }

    pub fn tokens(&self, path: &str) -> Vec<u64> {
        self.of(path, |told| told.token)
    }

    pub fn keys(&self, path: &str) -> Vec<String> {
        self.of(path, |told| told.key.clone())
    }

    /// How many wait to be answered.
    pub fn held(&self, path: &str) -> usize {
        self.of(path, |told| told.state == State::Held).into_iter().filter(|is_held| *is_held).count()
    }

    /// Has the first that came hung up?
    pub fn gave_up(&self, path: &str) -> bool {
        self.of(path, |told| told.state == State::GivenUp).first() == Some(&true)
    }

    fn of<T>(&self, path: &str, what: impl Fn(&Told) -> T) -> Vec<T> {
        self.calls.lock().expect("no panic").told.iter().filter(|told| told.path == path).map(what).collect()
    }
}

fn serve(stream: TcpStream, calls: &Mutex<Calls>) {
    let mut reader = BufReader::new(stream);
    while let Some(told) = read_request(&mut reader) {
        let status = match told.path.as_str() {
            "/broken" => "500 Broken",
            "/gone" => "410 Gone",
            _ => "200 OK",
        };
        let path = told.path.clone();
        let at = {
            let mut calls = calls.lock().expect("no panic");
            calls.told.push(told);
            calls.told.len() - 1
        };
        let mut state = State::Answered;
        if path.starts_with("/hold/") {
            let stream = reader.get_ref();
            stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
            while !calls.lock().expect("no panic").open.contains(&path) {
                if stream.peek(&mut [0]).is_ok_and(|count| count == 0) {
                    state = State::GivenUp;
                    break;
                }
            }
            stream.set_read_timeout(None).expect("no timeout");
        }
        let is_over = state == State::GivenUp;
        calls.lock().expect("no panic").told[at].state = state;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if is_over || reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Told> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut key, mut token, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "fencing-token" => token = value.parse().expect("a number"),
            "content-length" => length = value.parse().expect("a number"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Told { path, key, token, state: State::Held })
}
