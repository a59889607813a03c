//! A wall clock of a server's own, which a test can set.
//!
//! The server runs under a small library that shifts its wall clock by what a file says; the monotonic clock stays.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::guardian;
use super::server::Builder;

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

/* A module shall find these, too, where the server has it look into its own libraries first. */
void *dlopen(const char *path, int flags) {
    static void *(*real)(const char *, int);
    if (!real) real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return real(path, flags & ~RTLD_DEEPBIND);
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

/// The wall clock of the servers that were started under it.
pub struct Clock(PathBuf);

impl Clock {
    pub fn new() -> Clock {
        let clock = Clock(guardian::folder("clock").join("shift"));
        clock.shift(0);
        clock
    }

    /// Sets the wall clock so many seconds after the true one.
    pub fn shift(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&self.0).expect("the file");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("eight bytes");
    }
}

impl Builder {
    /// Under this clock.
    pub fn clock(self, clock: &Clock) -> Builder {
        self.env("LD_PRELOAD", shim().to_string_lossy()).env("WALL_CLOCK_SHIFT", clock.0.to_string_lossy())
    }
}
