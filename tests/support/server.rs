//! A private redis-server (or valkey-server) with the module in it.
//!
//! At its end each server must still live and its log show no crash: every test checks that, without a line of its own.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use rustix::process::Signal;

use super::aof::{self, Unit};
use super::database::Database;
use super::guardian;
use super::info::Info;
use super::netns::Place;
use super::process::{free_port, Process};
use super::replication::ReplicationStream;
use super::wait::{eventually, wait_at_most, PATIENCE};
use super::wire::{Reply, Wire};

/// What to start. Without more it is a server with the module, no catalog of its own and no Postgres.
pub struct Builder {
    program: PathBuf,
    module: Option<PathBuf>,
    module_args: Vec<String>,
    config: Vec<(String, String)>,
    env: Vec<(String, String)>,
    catalog: Option<String>,
    acl: Option<String>,
    append_only: bool,
    data: Option<PathBuf>,
    place: Option<Place>,
}

/// What a server keeps on disk, in its folder.
const DATA: [&str; 2] = ["dump.rdb", "appendonlydir"];

pub struct Redis {
    process: Option<Process>,
    program: PathBuf,
    env: Vec<(String, String)>,
    folder: PathBuf,
    port: u16,
    /// None: among this machine's other servers.
    place: Option<Place>,
    /// The test ended it by itself, or expects it to crash.
    is_ended: bool,
}

impl Redis {
    pub fn builder() -> Builder {
        Builder {
            program: server_program(),
            module: Some(module_path()),
            module_args: Vec::new(),
            config: Vec::new(),
            env: Vec::new(),
            catalog: None,
            acl: None,
            append_only: false,
            data: None,
            place: None,
        }
    }

    /// A server with the module, the bear catalog and this database.
    pub fn with(database: &Database) -> Redis {
        Redis::builder().postgres(database).start()
    }
}

impl Builder {
    /// Another server program.
    pub fn server(mut self, program: impl Into<PathBuf>) -> Builder {
        self.program = program.into();
        self
    }

    /// A server without the module.
    pub fn plain(mut self) -> Builder {
        self.module = None;
        self
    }

    /// A word after the module's path in `loadmodule`.
    pub fn module_arg(mut self, arg: impl Into<String>) -> Builder {
        self.module_args.push(arg.into());
        self
    }

    /// A line of the configuration file.
    pub fn config(mut self, name: &str, value: impl ToString) -> Builder {
        self.config.push((name.to_owned(), value.to_string()));
        self
    }

    /// Several lines of it.
    pub fn configs(self, lines: &[(&str, &str)]) -> Builder {
        lines.iter().fold(self, |builder, (name, value)| builder.config(name, value))
    }

    /// Feeds say each 250 ms what they have told, and nothing is withheld where one is late: for tests that wait until they have told,
    /// and ask nothing of when they do. By default they say so each 1250 ms; a shorter grace has a feed on a busy machine make all cold
    /// where it cannot look at what was altered.
    pub fn prompt_feed(self) -> Builder {
        self.configs(&[("bear.feed-grace-ms", "1000"), ("bear.feed-behind", "serve")])
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Builder {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The database, by `BEAR_POSTGRES_URL`.
    pub fn postgres(self, database: &Database) -> Builder {
        let url = database.url();
        self.env("BEAR_POSTGRES_URL", url)
    }

    /// The text of the catalog, kept in `catalog.toml` of the server's folder.
    pub fn catalog(mut self, text: impl Into<String>) -> Builder {
        self.catalog = Some(text.into());
        self
    }

    /// The lines of an ACL file.
    pub fn acl_file(mut self, text: impl Into<String>) -> Builder {
        self.acl = Some(text.into());
        self
    }

    pub fn append_only(mut self) -> Builder {
        self.append_only = true;
        self
    }

    /// Begins with a copy of what another server has on disk (`dump.rdb`, `appendonlydir`).
    pub fn data_of(self, other: &Redis) -> Builder {
        let folder = other.folder.clone();
        self.data_in(folder)
    }

    /// Begins with what `Redis::copy_data` has copied.
    pub fn data_in(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.data = Some(folder.into());
        self
    }

    /// In a network namespace.
    pub fn at(mut self, place: Place) -> Builder {
        let address = place.back;
        self.place = Some(place);
        self.config("cluster-announce-ip", address)
    }

    pub fn replica_of(self, master: &Redis) -> Builder {
        self.config("replicaof", format!("127.0.0.1 {}", master.port))
    }

    /// Starts the server and waits until it answers; a server that does not start fails the test.
    #[track_caller]
    pub fn start(self) -> Redis {
        self.try_start().unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// Starts the server; where it ends instead, the error is its log.
    pub fn try_start(self) -> Result<Redis, String> {
        let folder = guardian::folder("redis");
        if let Some(text) = &self.catalog {
            std::fs::write(folder.join("catalog.toml"), text).expect("the catalog");
        }
        if let Some(text) = &self.acl {
            std::fs::write(folder.join("users.acl"), text).expect("the ACL file");
        }
        if let Some(data) = &self.data {
            copy(data, &folder);
        }
        let mut redis = Redis {
            process: None,
            program: self.program.clone(),
            env: self.env.clone(),
            folder,
            port: 0,
            place: self.place.clone(),
            is_ended: false,
        };
        loop {
            redis.port = free_port();
            std::fs::write(redis.config_path(), self.config_text(&redis)).expect("the configuration");
            match redis.launch() {
                // Somebody else took the port in between.
                Err(log) if log.contains("Address already in use") => continue,
                Err(log) => {
                    redis.is_ended = true;
                    return Err(log);
                }
                Ok(()) => return Ok(redis),
            }
        }
    }

    fn config_text(&self, redis: &Redis) -> String {
        let mut text = format!(
            "port {}\nbind {}\nprotected-mode no\ndir {}\nlogfile {}\nsave \"\"\n",
            redis.port,
            if self.place.is_some() { "0.0.0.0" } else { "127.0.0.1" },
            redis.folder.display(),
            redis.log_path().display()
        );
        text.push_str(
            "appendfsync no\naof-use-rdb-preamble no\nauto-aof-rewrite-percentage 0\nrepl-diskless-sync-delay 0\n\
             shutdown-timeout 0\nenable-debug-command yes\nenable-module-command yes\nenable-protected-configs yes\n",
        );
        let on_off = if self.append_only { "yes" } else { "no" };
        let _ = writeln!(text, "appendonly {on_off}");
        if self.acl.is_some() {
            let _ = writeln!(text, "aclfile {}", redis.folder.join("users.acl").display());
        }
        if let Some(module) = &self.module {
            let _ = writeln!(text, "loadmodule {} {}", module.display(), self.module_args.join(" "));
        }
        if self.catalog.is_some() {
            let _ = writeln!(text, "bear.catalog {}", redis.catalog_path().display());
        }
        for (name, value) in &self.config {
            let _ = match value.split_ascii_whitespace().count() {
                // `replicaof` and `save` take several words.
                2.. if !name.starts_with("bear.") => writeln!(text, "{name} {value}"),
                _ => writeln!(text, "{name} \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            };
        }
        text
    }
}

impl Redis {
    fn launch(&mut self) -> Result<(), String> {
        self.launch_until(|| false)
    }

    /// Waits until it answers or `is_enough` holds.
    fn launch_until(&mut self, is_enough: impl Fn() -> bool) -> Result<(), String> {
        /// A server that is loading, or held still, says nothing for longer.
        const PING_PATIENCE: Duration = Duration::from_millis(200);
        let from = self.log().len();
        let mut command = match &self.place {
            // It becomes the server.
            Some(place) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &place.namespace]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg(self.config_path()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(self.output()).stderr(self.output());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("BEAR_") {
                command.env_remove(&*name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut process = Process::spawn(&mut command, "KILL");
        let address = self.address();
        let started = wait_at_most(PATIENCE, || {
            let is_ended = process.ended().is_some();
            let is_ready = !is_ended
                && (is_enough()
                    || Wire::try_connect_to(address).is_ok_and(|mut wire| {
                        wire.set_patience(PING_PATIENCE);
                        wire.answers_ping()
                    }));
            (is_ended || is_ready).then_some(is_ready)
        });
        if started == Some(true) {
            self.process = Some(process);
            self.is_ended = false;
            self.wait_for_postgres(from);
            return Ok(());
        }
        drop(process);
        Err(self.log().split_off(from))
    }

    /// Until Postgres has seen the catalog, for what is fetched before that is not stored; by the log, so that no command is counted.
    fn wait_for_postgres(&self, from: usize) {
        const LONGEST: Duration = Duration::from_secs(3);
        let config = std::fs::read_to_string(self.config_path()).unwrap_or_default();
        let has_url =
            self.env.iter().any(|(name, _)| name == "BEAR_POSTGRES_URL") || config.contains("bear.postgres-url");
        if has_url && config.contains("\nloadmodule ") {
            let ends = ["Postgres has seen it", "Postgres is away"];
            wait_at_most(LONGEST, || {
                let log = self.log();
                let log = log.get(from..).unwrap_or_default();
                ends.iter().any(|end| log.contains(end)).then_some(())
            });
        }
    }

    fn output(&self) -> Stdio {
        // What a dying process prints goes where its log is.
        std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log").into()
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("redis.log")
    }

    /// The file that `Builder::catalog` wrote; a test may write another one for BEAR.RELOAD.
    pub fn catalog_path(&self) -> PathBuf {
        self.folder.join("catalog.toml")
    }

    /// The server's working folder: `dump.rdb`, `appendonlydir`, `redis.conf`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        (self.place.as_ref().map_or(Ipv4Addr::LOCALHOST, |place| place.front), self.port).into()
    }

    /// Where other servers reach it.
    pub fn host(&self) -> Ipv4Addr {
        self.place.as_ref().map_or(Ipv4Addr::LOCALHOST, |place| place.back)
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The text of the configuration file, as CONFIG REWRITE left it.
    pub fn config_file(&self) -> String {
        std::fs::read_to_string(self.config_path()).expect("the configuration")
    }

    /// A raw RESP2 connection.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        let address = self.address();
        Wire::try_connect_to(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// A raw RESP3 connection.
    #[track_caller]
    pub fn resp3_wire(&self) -> Wire {
        let mut wire = self.wire();
        assert!(matches!(wire.run("HELLO 3"), Reply::Map(_)));
        wire
    }

    /// An ordinary client, RESP2.
    pub fn client(&self) -> Connection {
        self.connect(ProtocolVersion::RESP2)
    }

    /// An ordinary client, RESP3.
    pub fn resp3_client(&self) -> Connection {
        self.connect(ProtocolVersion::RESP3)
    }

    fn connect(&self, protocol: ProtocolVersion) -> Connection {
        let info = ConnectionAddr::Tcp(self.address().ip().to_string(), self.port)
            .into_connection_info()
            .expect("an address")
            .set_redis_settings(RedisConnectionInfo::default().set_protocol(protocol));
        let connection = Client::open(info).and_then(|client| client.get_connection()).expect("a connection");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        connection
    }

    /// One command on a connection of its own, given as words.
    #[track_caller]
    pub fn run(&self, line: &str) -> Reply {
        self.wire().run(line)
    }

    #[track_caller]
    pub fn info(&self, section: &str) -> Info {
        Info::parse(&self.wire().call(&["INFO", section]).text())
    }

    /// What `CONFIG GET` says of one setting.
    #[track_caller]
    pub fn config(&self, name: &str) -> String {
        match self.wire().call(&["CONFIG", "GET", name]).map().remove(name) {
            Some(value) => value.text(),
            None => panic!("no setting {name}"),
        }
    }

    /// All keys, sorted, but for those that the module keeps beside the sections'.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.run("KEYS *").sorted_texts();
        keys.retain(|key| !key.starts_with("bear.module:") || key.ends_with("cold"));
        keys
    }

    /// Waits until so many clients are blocked.
    #[track_caller]
    pub fn wait_blocked(&self, count: i64) {
        let mut wire = self.wire();
        eventually(&format!("{count} clients are blocked"), || {
            Info::parse(&wire.run("INFO clients").text()).int("blocked_clients") == count
        });
    }

    /// Waits until what was fetched is stored: a result may be answered before its entry stands.
    #[track_caller]
    pub fn wait_stored(&self) {
        let mut wire = self.wire();
        eventually("what was fetched is stored", || {
            let info = Info::parse(&wire.run("INFO bear").text());
            info.int("bear_fills_running") == 0 && info.int("bear_publishing") == 0
        });
    }

    /// Waits until Postgres has seen the catalog: what is fetched before that is not stored.
    #[track_caller]
    pub fn wait_checked(&self) {
        let mut wire = self.wire();
        eventually("the catalog is checked", || wire.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    }

    /// The units in the append-only file. Redis writes them before it answers.
    #[track_caller]
    pub fn aof(&self) -> Vec<Unit> {
        aof::units(aof::read(&self.folder.join("appendonlydir")))
    }

    /// Sees what a replica would receive from now on.
    #[track_caller]
    pub fn replication_stream(&self) -> ReplicationStream {
        ReplicationStream::attach(self.port)
    }

    /// Waits until this replica has everything that `master` has sent.
    #[track_caller]
    pub fn wait_in_sync(&self, master: &Redis) {
        eventually("the replica is in sync", || {
            let (own, other) = (self.info("replication"), master.info("replication"));
            own.get("master_link_status") == Some("up")
                && own.get("slave_repl_offset") == other.get("master_repl_offset")
        });
    }

    /// Ends it in order, as SIGTERM does.
    #[track_caller]
    pub fn shutdown(&mut self) {
        let ended = self.process.take().expect("it runs").end(Signal::TERM);
        self.is_ended = true;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?} at shutdown:\n{}", self.log());
    }

    /// Ends it as a crash does.
    pub fn kill9(&mut self) {
        self.process.take().expect("it runs").end(Signal::KILL);
        self.is_ended = true;
    }

    /// Starts it again after its end: same folder, same port, the configuration file as it is now.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        if let Err(log) = self.launch() {
            panic!("the server does not start again:\n{log}");
        }
    }

    /// Starts it again, and comes back when it answers or `is_enough` holds: it may be held still before it answers.
    #[track_caller]
    pub fn start_again_until(&mut self, is_enough: impl Fn() -> bool) {
        assert!(self.process.is_none(), "it runs already");
        if let Err(log) = self.launch_until(is_enough) {
            panic!("the server does not start again:\n{log}");
        }
    }

    /// Copies what it has on disk now into a folder of its own.
    pub fn copy_data(&self) -> PathBuf {
        let folder = guardian::folder("data");
        copy(&self.folder, &folder);
        folder
    }

    /// Replaces what it has on disk, while it does not run, by what `copy_data` has copied.
    pub fn restore_data(&mut self, copied: &Path) {
        assert!(self.process.is_none(), "it runs");
        for name in DATA.map(|name| self.folder.join(name)) {
            let _ = std::fs::remove_file(&name);
            let _ = std::fs::remove_dir_all(&name);
        }
        copy(copied, &self.folder);
    }

    /// Ends it in order and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.shutdown();
        self.start_again();
    }

    /// Changes the environment of the next start.
    pub fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
    }

    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Names of the process' threads.
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a process that runs");
        // One that ends meanwhile has no name any more.
        let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    fn trace_of_crash(&self) -> Option<String> {
        let log = self.log();
        let at = ["BUG REPORT START", "panicked at", "ASSERTION FAILED"].iter().find_map(|sign| log.find(sign))?;
        Some(log[at..].lines().take(40).collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let is_panicking = std::thread::panicking();
        let mut trouble = None;
        if let Some(process) = self.process.take() {
            match process.end(Signal::TERM) {
                Some(status) if status.success() => {}
                other => trouble = Some(format!("the server ended with {other:?}")),
            }
        }
        let trace = self.trace_of_crash();
        if is_panicking && !QUIET.load(Ordering::Relaxed) {
            trace.iter().for_each(|trace| eprintln!("{trace}"));
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- end of the log of the server on port {} ---", self.port);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        trouble = trouble.or(trace);
        let log = if trouble.is_some() { self.log() } else { String::new() };
        let _ = std::fs::remove_dir_all(&self.folder);
        if let (Some(trouble), false) = (trouble, is_panicking) {
            panic!("{trouble}\n{log}");
        }
    }
}

/// Copies the data of one server's folder into another.
fn copy(from: &Path, to: &Path) {
    for source in DATA.map(|name| from.join(name)).into_iter().filter(|source| source.exists()) {
        let copied = Command::new("cp").arg("-a").arg(&source).arg(to).status();
        assert!(copied.expect("cp runs").success(), "{} cannot be copied", source.display());
    }
}

impl Wire {
    fn answers_ping(&mut self) -> bool {
        // A server that refuses to load the module closes the connection at any moment.
        if !self.try_send(&["PING"]) {
            return false;
        }
        matches!(self.try_receive(), Ok(Reply::Simple(text)) if text == "PONG")
    }
}

/// Says a server nothing of its end while a test panics?
pub static QUIET: AtomicBool = AtomicBool::new(false);

/// The server that tests start.
pub fn server_program() -> PathBuf {
    std::env::var_os("BEAR_TEST_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// The module's library: beside this test's own binary, where `cargo test` builds it, or one folder up.
pub fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("BEAR_TEST_MODULE") {
        return path.into();
    }
    let file = format!("{}bear{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let binary = std::env::current_exe().expect("the path of this binary");
    let found = binary.ancestors().skip(1).take(2).map(|folder| folder.join(&file)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {file} beside {}", binary.display()))
}
