//! Ends what a test process started, however the test process itself ends.
//!
//! A small shell reads a pipe whose other end only the test process holds. When that end closes (normal exit, panic,
//! Ctrl-C, SIGKILL) the shell ends every server that is still registered and removes the process' temporary folder.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// `$1` is the folder to remove. Lines: `watch PID SIGNAL`, `gone PID`, `network netns|link NAME`.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
alive() {
    case $(ps -o stat= -p "$1" 2>/dev/null) in Z*) return 1 ;; esac # ended, and its new parent has not looked yet
    kill -0 "$1" 2>/dev/null
}
watched= networks=
while read -r verb pid signal; do
    case $verb in
    watch) watched="$watched $pid:$signal" ;;
    gone)
        rest=
        for one in $watched; do [ "${one%%:*}" = "$pid" ] || rest="$rest $one"; done
        watched=$rest
        ;;
    network) networks="$networks $pid:$signal" ;;
    esac
done
for one in $watched; do kill -s "${one##*:}" "${one%%:*}" 2>/dev/null; done
for one in $watched; do
    tries=0
    while alive "${one%%:*}" && [ $tries -lt 250 ]; do sleep 0.02; tries=$((tries + 1)); done
    alive "${one%%:*}" && kill -s KILL "${one%%:*}"
done
for one in $networks; do ip "${one%%:*}" del "${one##*:}" 2>/dev/null; done
rm -rf "$1"
"#;

struct Guardian {
    pipe: Mutex<ChildStdin>,
    root: PathBuf,
}

fn guardian() -> &'static Guardian {
    static GUARDIAN: OnceLock<Guardian> = OnceLock::new();
    GUARDIAN.get_or_init(|| {
        raise_file_limit();
        let root = tempfile::Builder::new().prefix("bear-test-").tempdir().expect("a temporary folder").keep();
        // Postgres runs as another user where the tests run as root.
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o711)).expect("open the folder");
        #[expect(clippy::zombie_processes, reason = "it outlives this process, to clean up after it")]
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "bear-test-guardian"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell to guard the servers");
        Guardian { pipe: Mutex::new(shell.stdin.take().expect("stdin is piped")), root }
    })
}

/// A thousand clients need more than the usual soft limit of 1,024 files.
fn raise_file_limit() {
    use rustix::process::{getrlimit, setrlimit, Resource};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A new empty folder, removed at the end of the test process at the latest.
pub fn folder(name: &str) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{name}-{number}"));
    std::fs::create_dir(&path).expect("a folder of its own");
    path
}

/// The folder of this test process.
pub fn root() -> &'static Path {
    &guardian().root
}

/// Has `pid` ended with `signal` (`KILL`, `QUIT`) if this process ends first.
pub fn watch(pid: u32, signal: &str) {
    tell(&format!("watch {pid} {signal}\n"));
}

/// The process was waited for: its number may be given to another now.
pub fn forget(pid: u32) {
    tell(&format!("gone {pid}\n"));
}

/// Has `ip KIND del NAME` done once this process has ended, if it is there still.
pub fn remove_network(kind: &str, name: &str) {
    tell(&format!("network {kind} {name}\n"));
}

fn tell(line: &str) {
    let mut pipe = guardian().pipe.lock().expect("no panic while it is held");
    pipe.write_all(line.as_bytes()).expect("the guardian lives");
}
