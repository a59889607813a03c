//! Private Postgres clusters on loopback ports.
//!
//! One cluster serves all tests of a process, each with a database of its own; a test that stops or kills its server
//! starts a cluster for itself. `initdb` runs once a process: clusters are copies of what it made.
//!
//! Everybody is trusted, except roles that a test makes with a password (`Database::role`): those need it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use postgres::{Client, Config, NoTls};
use rustix::process::Signal;

use super::database::Database;
use super::guardian;
use super::process::{free_port, Process};
use super::wait::{eventually, wait_for};

/// Roles that are members of it have to prove their password.
pub const BY_PASSWORD: &str = "by_password";

/// The superuser of every cluster.
pub const SUPERUSER: &str = "postgres";

/// Separates database, process and message in the log.
const LOG_LINE_PREFIX: &str = "%d|%p|";

#[derive(Clone)]
pub struct Postgres {
    cluster: Arc<Cluster>,
}

struct Cluster {
    data: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
    /// `on` where a test looks at what survives a crash of the machine; else nothing waits for disks.
    fsync: &'static str,
    /// `logical` where a test has changes decoded.
    wal_level: Mutex<&'static str>,
    /// Beside those of all clusters of tests, or in their place.
    settings: &'static [&'static str],
}

/// What a server has that nobody has configured, in the place of what spares the tests time.
const ORDINARY: [&str; 5] =
    ["autovacuum=on", "full_page_writes=on", "max_wal_size=1GB", "shared_buffers=128MB", "log_statement=none"];

/// What logs nothing but errors, for they are few.
const QUIET: [&str; 2] = ["log_statement=none", "max_locks_per_transaction=512"];

impl Postgres {
    /// The cluster that the tests of this process share. Never stop it.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// The same for those whose changes are followed by logical decoding.
    pub fn shared_logical() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start_logical)
    }

    /// A cluster of the caller's own, which ends when its last handle is dropped.
    pub fn start() -> Postgres {
        Postgres::start_with("off", "replica")
    }

    /// One whose changes can be decoded.
    pub fn start_logical() -> Postgres {
        Postgres::start_with("off", "logical")
    }

    /// One that waits for its disk, as a production server does.
    pub fn start_durable() -> Postgres {
        Postgres::start_with("on", "replica")
    }

    /// One that waits for its disk, and whose changes can be decoded.
    pub fn start_durable_logical() -> Postgres {
        Postgres::start_with("on", "logical")
    }

    /// One that waits for its disk, vacuums by itself, writes whole pages after checkpoints, and whose changes can be decoded.
    pub fn start_ordinary() -> Postgres {
        let data = guardian::folder("postgres").join("data");
        copy(template(), &data);
        Postgres::start_set(data, "on", "logical", &ORDINARY)
    }

    /// One whose changes can be decoded and whose statements are not logged: for very many of them.
    pub fn start_quiet() -> Postgres {
        let data = guardian::folder("postgres").join("data");
        copy(template(), &data);
        Postgres::start_set(data, "off", "logical", &QUIET)
    }

    /// One that counts what statements cost, once a database has the extension pg_stat_statements.
    pub fn start_counting() -> Postgres {
        let data = guardian::folder("postgres").join("data");
        copy(template(), &data);
        Postgres::start_set(data, "off", "replica", &["shared_preload_libraries=pg_stat_statements"])
    }

    /// One with settings of the test's own, whose changes can be decoded.
    pub fn start_with_settings(settings: &'static [&'static str]) -> Postgres {
        let data = guardian::folder("postgres").join("data");
        copy(template(), &data);
        Postgres::start_set(data, "off", "logical", settings)
    }

    fn start_with(fsync: &'static str, wal_level: &'static str) -> Postgres {
        let data = guardian::folder("postgres").join("data");
        copy(template(), &data);
        Postgres::start_in(data, fsync, wal_level)
    }

    fn start_in(data: PathBuf, fsync: &'static str, wal_level: &'static str) -> Postgres {
        Postgres::start_set(data, fsync, wal_level, &[])
    }

    pub(super) fn start_set(
        data: PathBuf,
        fsync: &'static str,
        wal_level: &'static str,
        settings: &'static [&'static str],
    ) -> Postgres {
        let wal_level = Mutex::new(wal_level);
        let cluster = Cluster { data, port: free_port(), process: Mutex::new(None), fsync, wal_level, settings };
        let postgres = Postgres { cluster: Arc::new(cluster) };
        postgres.start_again();
        postgres
    }

    /// A cluster with a system identifier of its own; all others are copies of one.
    pub fn start_unrelated() -> Postgres {
        let data = folder_of_the_server("postgres").join("data");
        initialize(&data);
        Postgres::start_in(data, "off", "replica")
    }

    /// Starts the stopped cluster on its port and waits until it answers.
    pub fn start_again(&self) {
        let mut process = self.cluster.process.lock().unwrap();
        assert!(process.is_none(), "it runs already");
        *process = Some(self.cluster.launch());
        drop(process);
        wait_for("Postgres answers", || {
            if let Some(status) = self.cluster.process.lock().unwrap().as_mut().and_then(Process::ended) {
                panic!("Postgres ended with {status}:\n{}", self.log());
            }
            self.config(SUPERUSER).connect(NoTls).ok()
        });
    }

    /// Ends it and starts it with another `wal_level`.
    pub fn restart_with(&self, wal_level: &'static str) {
        self.stop_fast();
        *self.cluster.wal_level.lock().unwrap() = wal_level;
        self.start_again();
    }

    /// The major version, such as 15.
    pub fn version(&self) -> i32 {
        let sql = "SELECT current_setting('server_version_num')::int / 10000";
        self.client(SUPERUSER).query_one(sql, &[]).expect("a number").get(0)
    }

    /// Disconnects everybody, writes a checkpoint and ends.
    pub fn stop_fast(&self) {
        self.stop(Signal::INT);
    }

    /// Ends at once, as a crash does: the next start recovers.
    pub fn stop_immediate(&self) {
        self.stop(Signal::QUIT);
    }

    /// Dies without a word to anybody. What serves clients ends when it next looks, which is waited for.
    pub fn kill9(&self) {
        self.stop(Signal::KILL);
        let is_ours = |process: std::fs::DirEntry| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == self.cluster.data)
        };
        eventually("nobody is left of it", || !std::fs::read_dir("/proc").expect("processes").flatten().any(is_ours));
    }

    fn stop(&self, signal: Signal) {
        let process = self.cluster.process.lock().unwrap().take().expect("it runs");
        assert!(process.end(signal).is_some(), "Postgres did not end:\n{}", self.log());
    }

    /// Copies the stopped cluster's data into a folder of its own: a backup.
    pub fn copy_data(&self) -> PathBuf {
        assert!(self.cluster.process.lock().unwrap().is_none(), "it runs");
        let copied = guardian::folder("backup").join("data");
        copy(&self.cluster.data, &copied);
        copied
    }

    /// Replaces the stopped cluster's data by what `copy_data` has copied.
    pub fn restore_data(&self, copied: &Path) {
        assert!(self.cluster.process.lock().unwrap().is_none(), "it runs");
        std::fs::remove_dir_all(&self.cluster.data).expect("the data of a cluster of our own");
        copy(copied, &self.cluster.data);
    }

    pub(super) fn wal_level(&self) -> &'static str {
        *self.cluster.wal_level.lock().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    /// Of the process whose children serve clients.
    pub fn pid(&self) -> u32 {
        self.cluster.process.lock().unwrap().as_ref().expect("it runs").id()
    }

    /// A database of the caller's own with `schema` in it.
    pub fn database(&self, schema: &str) -> Database {
        Database::create(self, schema)
    }

    /// A connection as superuser.
    pub fn client(&self, database: &str) -> Client {
        self.config(database).connect(NoTls).unwrap_or_else(|error| panic!("connecting to {database}: {error:?}"))
    }

    /// Runs SQL as superuser, in no test's database.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.client(SUPERUSER).batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// None where it is away.
    pub fn try_client(&self, database: &str) -> Option<Client> {
        self.config(database).connect(NoTls).ok()
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.cluster.port).user(SUPERUSER).dbname(database).application_name("test");
        config
    }

    /// A URL of the superuser through `port`, which is the cluster's own or that of a proxy.
    pub fn url_through(&self, port: u16, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{port}/{database}")
    }

    pub(super) fn local_url(&self, database: &str) -> String {
        let folder = self.cluster.data.display();
        format!("postgres://{SUPERUSER}@/{database}?host={folder}&port={}", self.cluster.port)
    }

    /// The folder of the Unix socket.
    pub fn socket_folder(&self) -> &Path {
        &self.cluster.data
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.cluster.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Cluster {
    fn log_path(&self) -> PathBuf {
        self.data.with_file_name("log")
    }

    fn launch(&self) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Command::new(programs().join("postgres"));
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(&self.data);
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "shared_buffers=32MB",
            "log_statement=all",
            "log_timezone=UTC",
            "timezone=UTC",
            &format!("log_line_prefix={LOG_LINE_PREFIX}"),
            &format!("fsync={}", self.fsync),
            &format!("wal_level={}", self.wal_level.lock().unwrap()),
            "full_page_writes=off",
            "autovacuum=off",
        ] {
            command.arg("-c").arg(setting);
        }
        // The last one counts.
        for setting in self.settings {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Process::spawn(as_server_user(&mut command), "QUIT")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(process) = self.process.get_mut().unwrap_or_else(|poison| poison.into_inner()).take() {
            process.end(Signal::QUIT);
        }
        let _ = std::fs::remove_dir_all(self.data.parent().expect("a folder of its own"));
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success(), "{} cannot be copied", from.display());
}

/// An initialized cluster to copy, made once a process.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let data = folder_of_the_server("template").join("data");
        initialize(&data);
        data
    })
}

/// A new empty folder that the server's user may write to.
pub(super) fn folder_of_the_server(name: &str) -> PathBuf {
    let folder = guardian::folder(name);
    give_to_server(&folder);
    folder
}

/// Lets the server's user write to it.
pub(super) fn give_to_server(path: &Path) {
    if let Some((user, group)) = server_user() {
        std::os::unix::fs::chown(path, Some(*user), Some(*group)).expect("chown as root");
    }
}

fn initialize(data: &Path) {
    let mut initdb = Command::new(programs().join("initdb"));
    initdb
        .args(["--no-sync", "--auth=trust", "--no-locale", "--encoding=UTF8", "--wal-segsize=1"])
        .arg(format!("--username={SUPERUSER}"))
        .arg("--pgdata")
        .arg(data);
    let output = as_server_user(&mut initdb).output().expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let rules = format!(
        "host all +{BY_PASSWORD} 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n\
         host replication all 127.0.0.1/32 trust\n"
    );
    std::fs::write(data.join("pg_hba.conf"), rules).expect("pg_hba.conf");
}

static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();

/// Has servers started by the programs of this folder, where none was yet.
pub fn choose_programs(folder: &Path) {
    PROGRAMS.get_or_init(|| folder.to_owned());
}

/// One of Postgres' programs.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The folder of `initdb` and `postgres`.
fn programs() -> &'static Path {
    PROGRAMS.get_or_init(|| {
        candidates()
            .into_iter()
            .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
            .expect("a Postgres server must be installed, or BEAR_TEST_POSTGRES_BIN name its folder of programs")
    })
}

/// Folders to look for Postgres in, best first.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("BEAR_TEST_POSTGRES_BIN").map(PathBuf::from).into_iter().collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    folders.extend(versions.into_iter().map(|(_, folder)| folder));
    folders
}

/// Postgres refuses to run as root: another user and group then, None where the tests run as an ordinary user.
fn server_user() -> &'static Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    USER.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        ["postgres", "nobody"].into_iter().find_map(user_and_group).or_else(|| panic!("no user to run Postgres as"))
    })
}

fn user_and_group(name: &str) -> Option<(u32, u32)> {
    let number = |option: &str| {
        let output = Command::new("id").args([option, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((number("-u")?, number("-g")?))
}

/// As root, `uid` also drops the supplementary groups.
pub(super) fn as_server_user(command: &mut Command) -> &mut Command {
    if let Some((user, group)) = server_user() {
        command.uid(*user).gid(*group);
    }
    // Not the settings of whoever runs the tests.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.current_dir("/").env("LC_ALL", "C")
}
