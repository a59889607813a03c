//! Places at which a test of crashes stops a thread; nothing at all in a release build.
//!
//! `BEAR_FAILPOINT=name:count:/path/to/file`: at the count-th passing of the place the file is made, and the thread
//! waits until somebody has removed it.

/// Idle queues are forgotten after so many ms, where `BEAR_IDLE_MS` says so: no test waits a minute.
#[inline]
pub fn idle_ms() -> Option<u64> {
    #[cfg(debug_assertions)]
    return armed::idle_ms();
    #[cfg(not(debug_assertions))]
    None
}

/// Slices of what is read end at once, where `BEAR_SHORT_SLICES` is set: what happens between two of them becomes frequent.
#[inline]
pub fn short_slices() -> bool {
    #[cfg(debug_assertions)]
    return armed::short_slices();
    #[cfg(not(debug_assertions))]
    false
}

/// A place that a test may name.
#[inline]
pub fn hit(name: &str) {
    #[cfg(debug_assertions)]
    armed::hit(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::OnceLock;
    use std::time::Duration;

    struct Armed {
        name: String,
        /// The passing at which to stop, from 1.
        count: u64,
        file: PathBuf,
        passed: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn idle_ms() -> Option<u64> {
        static IDLE_MS: OnceLock<Option<u64>> = OnceLock::new();
        *IDLE_MS.get_or_init(|| std::env::var("BEAR_IDLE_MS").ok()?.parse().ok())
    }

    pub(super) fn short_slices() -> bool {
        static SHORT: OnceLock<bool> = OnceLock::new();
        *SHORT.get_or_init(|| std::env::var("BEAR_SHORT_SLICES").is_ok())
    }

    pub(super) fn hit(name: &str) {
        let armed = ARMED.get_or_init(|| std::env::var("BEAR_FAILPOINT").ok().as_deref().and_then(read));
        let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.passed.fetch_add(1, Ordering::Relaxed) + 1 != armed.count {
            return;
        }
        if std::fs::write(&armed.file, name).is_ok() {
            while armed.file.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn read(text: &str) -> Option<Armed> {
        let mut parts = text.splitn(3, ':');
        let name = parts.next()?.to_owned();
        let count = parts.next()?.parse().ok()?;
        Some(Armed { name, count, file: parts.next()?.into(), passed: AtomicU64::new(0) })
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_failpoint_is_read() {
            let armed = super::read("before-commit:3:/a:b").unwrap();
            assert_eq!((&*armed.name, armed.count, armed.file.to_str()), ("before-commit", 3, Some("/a:b")));
            for wrong in ["", "x", "x:1", "x:y:/a"] {
                assert!(super::read(wrong).is_none(), "{wrong}");
            }
        }
    }
}
