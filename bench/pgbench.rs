//! pgbench, which comes with Postgres: clients that run a script for some seconds.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{guardian, Database};

/// Transactions a second, and their number. `options` are of the sessions.
pub fn pgbench(database: &Database, script: &str, clients: usize, secs: usize, options: &str) -> (f64, f64) {
    let folder = guardian::folder("pgbench");
    let file = folder.join("script.sql");
    std::fs::write(&file, script).expect("a script");
    let mut command = Command::new(program());
    command.args(["--no-vacuum", "--protocol=prepared"]).arg(format!("--jobs={}", clients.min(2)));
    command.arg(format!("--client={clients}")).arg(format!("--time={secs}"));
    command.arg("--file").arg(&file).arg(database.url()).env("PGOPTIONS", options);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("pgbench runs");
    let id = child.id();
    guardian::watch(id, "KILL");
    let output = child.wait_with_output().expect("a child of this process");
    guardian::forget(id);
    let _ = std::fs::remove_dir_all(folder);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "pgbench ended with {}: {told}", output.status);
    let figure = |name: &str| {
        let rest =
            told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {told}"));
        let digits = rest.trim_start().split([' ', '/']).next().unwrap_or_default();
        digits.parse::<f64>().unwrap_or_else(|_| panic!("{name} is no number in {told}"))
    };
    (figure("tps = "), figure("number of transactions actually processed:"))
}

/// Where the tests' Postgres is, or on the path.
fn program() -> PathBuf {
    let folder = std::env::var_os("BEAR_TEST_POSTGRES_BIN").map(PathBuf::from);
    folder.map(|folder| folder.join("pgbench")).filter(|path| path.exists()).unwrap_or_else(|| "pgbench".into())
}
