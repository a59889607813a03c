//! A real PgBouncer before a cluster: its own port, folder and end. `BEAR_TEST_PGBOUNCER` names another program.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use postgres::{Config, NoTls};
use rustix::process::Signal;

use super::database::Database;
use super::postgres::{as_server_user, folder_of_the_server, Postgres, SUPERUSER};
use super::process::{free_port, Process};
use super::wait::wait_for;

pub struct PgBouncer {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl PgBouncer {
    /// Pools what is a `session`, a `transaction` or a `statement`; `more` are lines of its configuration.
    pub fn before(postgres: &Postgres, mode: &str, more: &str) -> PgBouncer {
        let folder = folder_of_the_server("pgbouncer");
        let port = free_port();
        let conf = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\nadmin_users = {SUPERUSER}\npool_mode = {mode}\n\
             server_login_retry = 0.1\n{more}\n",
            postgres.port(),
            folder.join("users").display()
        );
        std::fs::write(folder.join("users"), format!("\"{SUPERUSER}\" \"\"\n")).expect("a folder of our own");
        std::fs::write(folder.join("pgbouncer.ini"), conf).expect("a folder of our own");
        let mut bouncer = PgBouncer { folder, port, process: None };
        bouncer.start();
        bouncer
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = Command::new(program());
        command.arg(self.folder.join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(Process::spawn(as_server_user(&mut command), "QUIT"));
        wait_for("PgBouncer answers", || self.admin().connect(NoTls).ok());
    }

    /// Ends, with all its connections, and begins anew.
    pub fn restart(&mut self) {
        let process = self.process.take().expect("it runs");
        assert!(process.end(Signal::KILL).is_some(), "it ends");
        self.start();
    }

    /// Runs a command of the administrator: PAUSE, RESUME, RELOAD, SET ….
    #[track_caller]
    pub fn run(&self, command: &str) {
        let mut client = self.admin().connect(NoTls).expect("PgBouncer");
        client.simple_query(command).unwrap_or_else(|error| panic!("{command}: {error:?}"));
    }

    fn admin(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(SUPERUSER).dbname("pgbouncer");
        config
    }

    /// A URL of the superuser through it.
    pub fn url(&self, database: &Database) -> String {
        database.url_through(self.port)
    }

    /// Such as (1, 18).
    pub fn version() -> (u32, u32) {
        let output = Command::new(program()).arg("--version").output().expect("pgbouncer runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
        numbers.next().zip(numbers.next()).unwrap_or_else(|| panic!("no version in {text:?}"))
    }
}

fn program() -> PathBuf {
    std::env::var_os("BEAR_TEST_PGBOUNCER").map_or_else(|| "/usr/sbin/pgbouncer".into(), PathBuf::from)
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
