//! Time on a processor. On a busy machine the clock also shows when the thread was put aside.

use std::ffi::{c_int, c_long};
use std::time::Duration;

#[repr(C)]
struct Time {
    seconds: c_long,
    nanoseconds: c_long,
}

extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Time) -> c_int;
}

/// Linux' number of the clock.
const THREAD_TIME: c_int = 3;

/// How long this thread has worked.
pub fn worked() -> Duration {
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: libc's function, with its struct as every 64-bit Linux has it.
    unsafe { clock_gettime(THREAD_TIME, &mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_grows_with_work_and_no_faster_than_the_clock() {
        let (begun, worked_before) = (Instant::now(), worked());
        while worked() - worked_before < Duration::from_millis(2) {}
        assert!(begun.elapsed() >= Duration::from_millis(2));
    }
}
