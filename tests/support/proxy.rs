//! A TCP relay before a server, which a test can cut, stall and resume: what a lost network looks like.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Nothing is forwarded, nothing is closed.
    Stall,
    /// Connections are closed as soon as they come.
    Refuse,
    End,
}

struct State {
    mode: Mode,
    /// Where new connections lead.
    port: u16,
    /// Both ends of each connection that was made.
    streams: Vec<TcpStream>,
    accepted: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Relays to `port` on this machine.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            state: Mutex::new(State { mode: Mode::Pass, port, streams: Vec::new(), accepted: 0 }),
            changed: Condvar::new(),
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

    /// Lets everything through again, what was held up included.
    pub fn resume(&self) {
        self.set(Mode::Pass);
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
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let _ = from.set_nodelay(true);
            let shared = Arc::clone(shared);
            thread::spawn(move || pump(from, to, &shared));
        }
        state.streams.extend([client, server]);
    }
}

/// Forwards one direction of one connection until either end closes.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let state = shared.state.lock().unwrap();
        drop(shared.changed.wait_while(state, |state| state.mode == Mode::Stall).unwrap());
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
