//! The program itself: whatever it lacks, and whatever ends while it runs, it says in lines of its own and by its exit code, and nothing
//! of it stays. `cargo test` builds it; who runs these tests alone has built it by `cargo build --example prove`.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};

use crate::support::server::module_path;
use crate::support::{eventually, guardian, wait_for, Database, Postgres};

const CATALOG: &str = "[thing]\n[[thing.query]]\ncall = '{id:int}'\nsql = 'SELECT id, name FROM thing WHERE id = {id}'";

struct Trial {
    _database: Database,
    folder: PathBuf,
    command: Command,
}

fn trial() -> Trial {
    let database = Postgres::shared().database("CREATE TABLE thing(id int PRIMARY KEY, name text)");
    let folder = guardian::folder("program");
    // Postgres runs as another user where the tests run as root.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let catalog = guardian::folder("program").join("thing.toml");
    std::fs::write(&catalog, CATALOG).unwrap();
    let own = std::env::current_exe().expect("the path of this binary");
    let program = own.ancestors().nth(2).expect("the folder of what was built").join("examples").join("prove");
    assert!(program.exists(), "{} is there: cargo build --example prove", program.display());
    // Who runs these tests in the background may have SIGINT ignored, which is inherited.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(program);
    command.arg(&catalog).arg(database.url()).env("TMPDIR", &folder).env("BEAR_TEST_MODULE", module_path());
    command.env("MINUTES", "5").env("SEED", "1").env("FEEDS", "wal").stdout(Stdio::null()).stderr(Stdio::piped());
    Trial { _database: database, folder, command }
}

impl Trial {
    fn with(mut self, name: &str, value: &str) -> Trial {
        self.command.env(name, value);
        self
    }

    fn start(&mut self) -> Child {
        self.command.spawn().expect("it runs")
    }

    /// Nothing that it started runs, and nothing that it made is there.
    #[track_caller]
    fn leaves_nothing(&self) {
        let mine = format!("TMPDIR={}", self.folder.display());
        let runs = |pid: u32| read(pid, "environ").contains(&mine);
        eventually("all that it started has ended", || !processes().any(runs));
        eventually("its folder is empty", || std::fs::read_dir(&self.folder).unwrap().next().is_none());
    }
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Nothing of a process that has ended.
fn read(pid: u32, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
}

/// What it says until its end, and its exit code.
#[track_caller]
fn end(child: &mut Child) -> (String, Option<i32>) {
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code();
    for word in ["panicked", "RUST_BACKTRACE", "src/"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
    (said, code)
}

#[test]
fn what_it_lacks_is_said() {
    for (name, value, expected) in [
        (
            "BEAR_TEST_POSTGRES_BIN",
            "/nowhere",
            "prove: BEAR_TEST_POSTGRES_BIN names /nowhere, where there is no initdb",
        ),
        ("BEAR_TEST_SERVER", "/nowhere/redis-server", "prove: /nowhere/redis-server cannot be run"),
        ("BEAR_TEST_MODULE", "/nowhere/libbear.so", "prove: there is no module /nowhere/libbear.so"),
        ("FEEDS", "mail", "prove: FEEDS is of wal, outbox and off"),
        // Whoever runs it may have set something of the kind.
        ("TMPDIR", "/nowhere", "prove: it broke off"),
    ] {
        let mut trial = trial().with(name, value);
        let (said, code) = end(&mut trial.start());
        assert!(said.lines().any(|line| line.starts_with(expected)), "{name}={value}: {said}");
        assert_eq!(code, Some(2), "{name}={value}: {said}");
        trial.leaves_nothing();
    }
}

/// The server of this name that it has started, once both of them run.
fn own_server(child: &Child, name: &str) -> Pid {
    let parent = format!(" {} ", child.id());
    // `pid (name) state parent …`. One that is only asked for its version is none.
    let is_its = |pid: &u32, name: &str| {
        let (stat, words) = (read(*pid, "stat"), read(*pid, "cmdline"));
        let is_child = stat.split_once(&format!("({name}) ")).is_some_and(|(_, rest)| rest[1..].starts_with(&parent));
        is_child && !words.is_empty() && !words.contains("--version")
    };
    let of = |name: &str| processes().find(|pid| is_its(pid, name));
    let pid = wait_for("its servers run", || of("redis-server").and(of(name)));
    Pid::from_raw(pid as i32).expect("a process")
}

#[test]
fn a_server_of_its_own_that_is_killed_ends_it() {
    for name in ["postgres", "redis-server"] {
        let mut trial = trial();
        let mut child = trial.start();
        kill_process(own_server(&child, name), Signal::KILL).unwrap();
        let (said, code) = end(&mut child);
        assert!(said.contains("prove: "), "{name}, code {code:?}: {said}");
        assert_eq!(code, Some(2), "{name}: {said}");
        trial.leaves_nothing();
    }
}

#[test]
fn nothing_stays_of_what_is_interrupted() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut trial = trial();
        let mut child = trial.start();
        own_server(&child, "postgres");
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        assert_eq!(end(&mut child).1, None, "it ends by the signal");
        trial.leaves_nothing();
    }
}
