//! How long Redis keeps others waiting: a connection that sends PING again and again, and the gaps between its replies.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::setup::raise_own_priority;
use crate::support::Redis;

pub struct Probe {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Gaps>,
}

/// Times between two replies, in nanoseconds.
pub struct Gaps {
    time: Histogram<u64>,
    /// Processor time of the server's thread in a gap and the one before it, for the kernel may book it late. However
    /// busy the machine, the thread was not held for longer than that; where the probe itself had to wait for a
    /// processor, for less.
    work: Histogram<u64>,
    total: Duration,
}

impl Probe {
    pub fn start(redis: &Redis) -> Probe {
        let (port, pid) = (redis.port(), redis.pid());
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = ended.clone();
        let thread = std::thread::spawn(move || {
            raise_own_priority();
            ping(port, pid, &is_ended)
        });
        Probe { ended, thread }
    }

    pub fn stop(self) -> Gaps {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("the probe does not panic")
    }
}

fn ping(port: u16, pid: u32, is_ended: &AtomicBool) -> Gaps {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    // Of the main thread, whose number is the process'.
    let worked = File::open(format!("/proc/{pid}/task/{pid}/schedstat")).ok();
    let mut time = Histogram::new(3).expect("three digits are allowed");
    let mut work = Histogram::new(3).expect("three digits are allowed");
    let mut reply = [0; 7];
    let begun = Instant::now();
    let mut last = begun;
    let mut seen = [worked.as_ref().and_then(nanos).unwrap_or(0); 2];
    while !is_ended.load(Ordering::Relaxed) {
        stream.write_all(b"PING\r\n").expect("the server lives");
        stream.read_exact(&mut reply).expect("the server answers");
        assert_eq!(&reply, b"+PONG\r\n");
        let now = Instant::now();
        time.record((now - last).as_nanos() as u64).expect("the histogram grows");
        if let Some(nanos) = worked.as_ref().and_then(nanos) {
            work.record(nanos - seen[0]).expect("the histogram grows");
            seen = [seen[1], nanos];
        }
        last = Instant::now();
    }
    Gaps { time, work, total: begun.elapsed() }
}

/// Nanoseconds on a processor: the first figure of a schedstat file. None where the kernel keeps none.
fn nanos(schedstat: &File) -> Option<u64> {
    let mut text = [0; 64];
    let len = schedstat.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..len]).ok()?.split(' ').next()?.parse().ok()
}

impl Gaps {
    /// In microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.time.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// In microseconds.
    pub fn max_us(&self) -> f64 {
        self.time.max() as f64 / 1000.0
    }

    /// The most that the server's thread worked in one gap, in microseconds.
    pub fn max_work_us(&self) -> f64 {
        self.work.max() as f64 / 1000.0
    }

    /// Gaps over a millisecond in a second.
    pub fn over_1ms_a_second(&self) -> f64 {
        let buckets = self.time.iter_recorded().filter(|bucket| bucket.value_iterated_to() > 1_000_000);
        buckets.map(|bucket| bucket.count_at_value()).sum::<u64>() as f64 / self.total.as_secs_f64()
    }
}
