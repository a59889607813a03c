//! A server's process: started in a group of its own, ended by its number, never outliving the test process.

use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::guardian;
use super::wait_at_most;

/// How long a server may take to end when asked.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// Time between two signals.
const ASK_AGAIN: Duration = Duration::from_millis(500);

pub struct Process {
    child: Child,
}

impl Process {
    /// `last_resort` is the signal (without SIG) that ends it if the test process dies first.
    pub fn spawn(command: &mut Command, last_resort: &str) -> Process {
        use std::os::unix::process::CommandExt;
        let program = command.get_program().to_owned();
        let child =
            command.process_group(0).spawn().unwrap_or_else(|error| panic!("cannot start {program:?}: {error}"));
        guardian::watch(child.id(), last_resort);
        Process { child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_raw(self.child.id() as i32).expect("a process has a number");
            kill_process(pid, signal).expect("a child of this process");
        }
    }

    /// Sends `signal` and waits for the end; None where it had to be killed.
    pub fn end(mut self, signal: Signal) -> Option<ExitStatus> {
        let mut ended = None;
        // Redis refuses to end while it writes its first append-only file, and forgets that it was asked.
        for _ in 0..END_PATIENCE.as_millis() / ASK_AGAIN.as_millis() {
            self.signal(signal);
            ended = wait_at_most(ASK_AGAIN, || self.ended());
            if ended.is_some() {
                break;
            }
        }
        if ended.is_none() {
            self.signal(Signal::KILL);
        }
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
        }
        let _ = self.child.wait();
        guardian::forget(self.child.id());
    }
}

/// A port that nobody listens on, below the range that the system takes for outgoing connections: a server that is
/// stopped and started again finds it free.
pub fn free_port() -> u16 {
    const FIRST: u16 = 14_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id().wrapping_mul(397) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + spread.wrapping_add(step) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
