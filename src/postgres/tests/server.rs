//! A Postgres of the test's own: a temporary folder, a free port, ended with the guard.

use std::fs;
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tempfile::TempDir;

use super::eventually;

pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    child: Mutex<Option<Child>>,
    /// Postgres refuses to run as root.
    owner: Option<(u32, u32)>,
}

impl Server {
    /// One server for all tests that change nothing; ended when the last of them is done.
    pub(crate) fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Server::new());
        *shared = Arc::downgrade(&server);
        server
    }

    pub(crate) fn new() -> Server {
        let folder = tempfile::Builder::new().prefix("bear-pg-").tempdir().unwrap();
        let owner = (fs::metadata("/proc/self").unwrap().uid() == 0).then(|| (id("-u"), id("-g")));
        if let Some((uid, gid)) = owner {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { folder, port, child: Mutex::new(None), owner };
        let initdb = server
            .command("initdb")
            .args(["-U", "bear", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(server.data())
            .output();
        assert!(initdb.as_ref().is_ok_and(|output| output.status.success()), "initdb: {initdb:?}");
        server.start();
        server
    }

    /// One whose WAL can be decoded.
    pub(crate) fn logical() -> Server {
        let server = Server::new();
        server.run("ALTER SYSTEM SET wal_level = 'logical'");
        server.stop("INT");
        server.start();
        server
    }

    /// Postgres' own folder, to change its configuration.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://bear@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn socket_url(&self) -> String {
        format!("host={} port={} user=bear dbname=postgres", self.folder.path().display(), self.port)
    }

    pub(crate) fn client(&self) -> ::postgres::Client {
        ::postgres::Client::connect(&self.socket_url(), ::postgres::NoTls).unwrap()
    }

    pub(crate) fn run(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap();
    }

    /// From now on each commit waits for a standby that there is not, unless its session has asked for less.
    pub(crate) fn make_commits_wait(&self) {
        let mut client = self.client();
        client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").unwrap();
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
        // A new session shows what the postmaster has read, which by then has told the checkpointer.
        eventually("the setting", || {
            let row = self.client().query_one("SHOW synchronous_standby_names", &[]).unwrap();
            row.get::<_, String>(0) == "nobody"
        });
        // Commits wait from when the checkpointer has read it, which it does before it begins a checkpoint; the first may have
        // begun already.
        client.batch_execute("CHECKPOINT").unwrap();
        client.batch_execute("CHECKPOINT").unwrap();
    }

    /// No commit waits any more.
    pub(crate) fn let_commits_go(&self) {
        let mut client = self.client();
        client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
    }

    pub(crate) fn start(&self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k"]).arg(self.folder.path());
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            // It may look at a catalog at any time; who connects then reads all of them, and waits for one that a test has locked.
            "autovacuum=off",
            "shared_buffers=16MB",
            "max_connections=40",
            "restart_after_crash=on",
        ] {
            command.args(["-c", setting]);
        }
        *self.child.lock().unwrap() = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.wait_until_ready();
    }

    pub(crate) fn wait_until_ready(&self) {
        eventually(&format!("the start of Postgres in {}", self.folder.path().display()), || {
            ::postgres::Client::connect(&self.socket_url(), ::postgres::NoTls).is_ok()
        });
    }

    /// Ends it as `pg_ctl stop -m fast` does, or with QUIT as `-m immediate` does.
    pub(crate) fn stop(&self, signal: &str) {
        let Some(mut child) = self.child.lock().unwrap().take() else { return };
        send_signal(child.id(), signal);
        eventually("the end of Postgres", || child.try_wait().unwrap().is_some());
    }

    /// Puts a file with `content` into the folder of the data, readable by its owner alone.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.data().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.owner {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
        path
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.current_dir("/").env_remove("PGPASSWORD").env("LC_ALL", "C");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.stop("QUIT");
        }
        if let Some(mut child) = self.child.lock().ok().and_then(|mut child| child.take()) {
            send_signal(child.id(), "QUIT");
            let _ = child.wait();
        }
    }
}

pub(crate) fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
    std::thread::sleep(Duration::from_millis(1));
}

fn id(flag: &str) -> u32 {
    let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().expect("a user named postgres, for tests that root runs")
}

/// Folder of Postgres' programs: `BEAR_TEST_POSTGRES_BIN`, or where pg_config says, else the newest of Debian's.
fn programs() -> PathBuf {
    let chosen = std::env::var_os("BEAR_TEST_POSTGRES_BIN").map(PathBuf::from);
    let told = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .ok()
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    debian.sort();
    let has_server = |folder: &PathBuf| Path::new(folder).join("initdb").exists();
    chosen
        .into_iter()
        .chain(told)
        .chain(debian.into_iter().rev())
        .find(has_server)
        .expect("Postgres' server programs, e.g. Debian's package postgresql")
}
