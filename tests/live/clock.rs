//! A wall clock that steps back: module timers follow it and freeze, and nobody may wait for that.
//!
//! The server runs under a small library that shifts its wall clock by what a file says; the monotonic clock stays.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::bears;
use crate::support::{eventually, guardian, Database, Redis, Reply};

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

/* Seconds to add to the wall clock: one shared mapping of the file that WALL_CLOCK_SHIFT names. */
static long shift(void) {
    static volatile long *seconds;
    if (!seconds) {
        const char *path = getenv("WALL_CLOCK_SHIFT");
        int fd = path ? open(path, O_RDONLY) : -1;
        void *map = fd < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) abort();
        seconds = map;
    }
    return *seconds;
}

int gettimeofday(struct timeval *tv, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    tv->tv_sec = now.tv_sec;
    tv->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, ts);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) ts->tv_sec += shift();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"#;

/// The library, made by the compiler that links Rust programs.
fn shim() -> &'static Path {
    static SHIM_PATH: OnceLock<PathBuf> = OnceLock::new();
    SHIM_PATH.get_or_init(|| {
        let folder = guardian::folder("clock");
        let (source, library) = (folder.join("clock.c"), folder.join("libclock.so"));
        std::fs::write(&source, SHIM).expect("the source");
        let output =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").output();
        let output = output.expect("a C compiler, which linking Rust takes as well");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    })
}

struct Clock(PathBuf);

impl Clock {
    fn new() -> Clock {
        let clock = Clock(guardian::folder("clock").join("shift"));
        clock.shift(0);
        clock
    }

    /// Sets the wall clock so many seconds after the true one.
    fn shift(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&self.0).expect("the file");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("eight bytes");
    }
}

fn start(database: &Database, clock: &Clock, timeout_ms: u32) -> Redis {
    Redis::builder()
        .postgres(database)
        .catalog(bears::gated_catalog())
        .config("bear.query-timeout-ms", timeout_ms)
        .env("LD_PRELOAD", shim().to_string_lossy())
        .env("WALL_CLOCK_SHIFT", clock.0.to_string_lossy())
        .start()
}

fn seconds(redis: &Redis) -> i64 {
    redis.run("TIME").list()[0].text().parse().expect("seconds")
}

#[test]
fn a_step_back_of_the_wall_clock_delays_no_timeout() {
    let database = bears::database();
    let clock = Clock::new();
    let redis = start(&database, &clock, 500);
    redis.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    let begun = Instant::now();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    let before = seconds(&redis);
    clock.shift(-3600); // a timer is armed for the end of the client's time
                        // Valkey reads its clock a little later.
    eventually("the server's clock stepped back", || (3590..3610).contains(&(before - seconds(&redis))));
    let reply = client.receive();
    assert!(reply.error().starts_with("TIMEOUT "), "{reply:?}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    gate.open();
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn answers_and_sweeps_go_on_while_the_wall_clock_steps() {
    let database = bears::database();
    let clock = Clock::new();
    let redis = start(&database, &clock, 20_000);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    clock.shift(-86_400);
    gate.open();
    let begun = Instant::now();
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    // Back each time: a step forward ends the TTL of what is stored.
    for (round, shift) in [-90_000, -180_000, -190_000, -200_000, -210_000, -220_000].into_iter().enumerate() {
        clock.shift(shift);
        let low = 100 + round;
        assert!(!redis.run(&format!("BEAR.QUERY bear size {low} 200")).is_error());
        redis.wait_stored();
        clock.shift(shift - 1800);
        assert!(redis.run("BEAR.INVALIDATE bear ROW 5").int() >= 1, "round {round}");
        assert_eq!(redis.run(&format!("EXISTS bear:size:{low}:200")), Reply::Int(0));
    }
    redis.run("BEAR.INVALIDATE bear ALL");
    eventually("all is swept", || redis.keys().is_empty());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
