//! A TCP relay before a server, which a test can cut, stall, slow down and resume: what a lost network looks like.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::random::Random;

/// Of so many chunks of answers one lags.
const ONE_LAGS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Nothing is forwarded, nothing is closed.
    Stall,
    /// Connections are closed as soon as they come.
    Refuse,
    End,
}

/// What becomes of a message that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on, and its connection is closed before an answer: the client cannot know what became of it.
    PassAndCut,
    /// Its connection is closed; the server never sees it.
    Cut,
}

/// The next message that holds `needle`, of a connection that has sent `of` before.
struct Hold {
    needle: &'static str,
    of: &'static str,
    is_caught: bool,
    verdict: Option<Verdict>,
}

struct State {
    mode: Mode,
    hold: Option<Hold>,
    /// Where new connections lead.
    port: u16,
    /// Both ends of each connection that was made.
    streams: Vec<TcpStream>,
    accepted: usize,
    /// What the server says comes up to so much later.
    lag: Duration,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Connections that have sent one of these words are never slowed down.
    spared: &'static [&'static str],
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Relays to `port` on this machine.
    pub fn to(port: u16) -> Proxy {
        Proxy::sparing(port, &[])
    }

    /// The same; `lag` does not concern connections that have sent one of the words.
    pub fn sparing(port: u16, spared: &'static [&'static str]) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode: Mode::Pass,
                hold: None,
                port,
                streams: Vec::new(),
                accepted: 0,
                lag: Duration::ZERO,
            }),
            changed: Condvar::new(),
            spared,
        });
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &acceptor));
        Proxy { address, shared }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that came so far.
    pub fn accepted(&self) -> usize {
        self.shared.state.lock().unwrap().accepted
    }

    /// Closes every connection and each new one, until `resume`.
    pub fn cut(&self) {
        self.set(Mode::Refuse);
        self.cut_once();
    }

    /// Closes the connections of this moment; new ones pass.
    pub fn cut_once(&self) {
        for stream in self.shared.state.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes every connection and leads new ones to another port of this machine.
    pub fn lead_to(&self, port: u16) {
        self.shared.state.lock().unwrap().port = port;
        self.cut_once();
    }

    /// Lets nothing through in either direction and closes nothing, until `resume`.
    pub fn stall(&self) {
        self.set(Mode::Stall);
    }

    /// One in `ONE_LAGS` of what the server says comes later from now on, by chance up to so much.
    pub fn lag(&self, most: Duration) {
        self.shared.state.lock().unwrap().lag = most;
    }

    /// Lets everything through again, what was held up included.
    pub fn resume(&self) {
        self.set(Mode::Pass);
    }

    /// Holds the next message of a client that holds `needle` until `release`, if its connection has sent `of` before.
    pub fn hold(&self, needle: &'static str, of: &'static str) {
        self.shared.state.lock().unwrap().hold = Some(Hold { needle, of, is_caught: false, verdict: None });
    }

    /// Has the message come?
    pub fn is_holding(&self) -> bool {
        self.shared.state.lock().unwrap().hold.as_ref().is_some_and(|hold| hold.is_caught)
    }

    /// Says what becomes of the message; where none came, none will be held.
    pub fn release(&self, verdict: Verdict) {
        let mut state = self.shared.state.lock().unwrap();
        match &mut state.hold {
            Some(hold) if hold.is_caught => hold.verdict = Some(verdict),
            _ => state.hold = None,
        }
        self.shared.changed.notify_all();
        // The next `hold` must not take the place of this one.
        drop(self.shared.changed.wait_while(state, |state| state.hold.is_some()).unwrap());
    }

    fn set(&self, mode: Mode) {
        self.shared.state.lock().unwrap().mode = mode;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::End);
        self.cut_once();
        let _ = TcpStream::connect(self.address); // wakes the acceptor
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let mut state = shared.state.lock().unwrap();
        match state.mode {
            Mode::End => return,
            Mode::Refuse => continue,
            Mode::Pass | Mode::Stall => {}
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", state.port)) else { continue };
        state.accepted += 1;
        let (spared, seed) = (Arc::new(AtomicBool::new(false)), state.accepted as u64);
        for (direction, from, to) in [(Direction::ToServer, &client, &server), (Direction::ToClient, &server, &client)]
        {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let _ = from.set_nodelay(true);
            let (shared, spared) = (Arc::clone(shared), Arc::clone(&spared));
            thread::spawn(move || pump(direction, from, to, &shared, &spared, Random::new(seed)));
        }
        state.streams.extend([client, server]);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// Forwards one direction of one connection until either end closes.
fn pump(
    direction: Direction,
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Shared,
    is_spared: &AtomicBool,
    mut random: Random,
) {
    let mut buffer = [0; 16 * 1024];
    let mut sent = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let state = shared.state.lock().unwrap();
        drop(shared.changed.wait_while(state, |state| state.mode == Mode::Stall).unwrap());
        let verdict = match direction {
            Direction::ToServer => {
                if shared.spared.iter().any(|word| contains(&buffer[..length], word)) {
                    is_spared.store(true, Ordering::Relaxed);
                }
                shared.judge(&buffer[..length], &mut sent)
            }
            Direction::ToClient => {
                if !is_spared.load(Ordering::Relaxed) {
                    shared.lag(&mut random);
                }
                Verdict::Pass
            }
        };
        if verdict != Verdict::Pass {
            let _ = from.shutdown(Shutdown::Both);
        }
        if verdict == Verdict::Cut || to.write_all(&buffer[..length]).is_err() {
            break;
        }
        if verdict == Verdict::PassAndCut {
            // The server reads what was sent, and then that nobody is there.
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

impl Shared {
    fn lag(&self, random: &mut Random) {
        let most = self.state.lock().unwrap().lag.as_micros() as usize;
        if most > 0 && random.once_in(ONE_LAGS) {
            thread::sleep(Duration::from_micros(random.below(most) as u64));
        }
    }

    /// What becomes of a message, after it was held if it is the one to hold. `sent` is what the connection sent before.
    fn judge(&self, message: &[u8], sent: &mut Vec<u8>) -> Verdict {
        /// Enough of what a connection sent first: a client names early what it is there for.
        const REMEMBERED: usize = 64 << 10;
        sent.extend_from_slice(&message[..message.len().min(REMEMBERED.saturating_sub(sent.len()))]);
        let mut state = self.state.lock().unwrap();
        match &mut state.hold {
            Some(hold) if !hold.is_caught && contains(message, hold.needle) && contains(sent, hold.of) => {
                hold.is_caught = true;
            }
            _ => return Verdict::Pass,
        }
        let waits = |state: &mut State| {
            state.mode != Mode::End && state.hold.as_ref().is_some_and(|hold| hold.verdict.is_none())
        };
        let mut state = self.changed.wait_while(state, waits).unwrap();
        let verdict = state.hold.take().and_then(|hold| hold.verdict).unwrap_or(Verdict::Cut);
        self.changed.notify_all();
        verdict
    }
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
