//! Standbys of a cluster: copied while it serves, following, promoted.
//!
//! A copy is made by hand and not by pg_basebackup, which a folder of server programs need not have, and which copies no server that is
//! newer than itself.

use std::path::Path;
use std::process::Command;

use super::postgres::{as_server_user, folder_of_the_server, give_to_server, Postgres, SUPERUSER};
use super::wait::eventually;

impl Postgres {
    /// A standby that follows this cluster; `synchronous_standby_names` may name it `standby`.
    pub fn standby(&self) -> Postgres {
        self.standby_set(&[])
    }

    /// The same, with settings of its own.
    pub fn standby_set(&self, settings: &'static [&'static str]) -> Postgres {
        let data = folder_of_the_server("standby").join("data");
        let mut client = self.client(SUPERUSER);
        let (start, stop) = match self.version() >= 15 {
            true => ("pg_backup_start('standby', true)", "pg_backup_stop(false)"),
            false => ("pg_start_backup('standby', true, false)", "pg_stop_backup(false, false)"),
        };
        client.execute(&format!("SELECT {start}"), &[]).expect("a backup begins");
        copy_live(self.socket_folder(), &data);
        let ended = client.query_one(&format!("SELECT labelfile FROM {stop}"), &[]).expect("a backup ends");
        let label: String = ended.get(0);
        let conf = std::fs::read_to_string(data.join("postgresql.auto.conf")).expect("a file of every cluster");
        let follow = format!(
            "{conf}\nprimary_conninfo = 'host=127.0.0.1 port={} user={SUPERUSER} dbname={SUPERUSER} application_name=standby'\n",
            self.port()
        );
        for (file, text) in [("backup_label", &*label), ("standby.signal", ""), ("postgresql.auto.conf", &follow)] {
            std::fs::write(data.join(file), text).expect("a folder of our own");
            give_to_server(&data.join(file));
        }
        std::fs::remove_file(data.join("postmaster.pid")).expect("the copied server's");
        Postgres::start_set(data, "off", self.wal_level(), settings)
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        let promoted: bool = self.client(SUPERUSER).query_one("SELECT pg_promote()", &[]).expect("a standby").get(0);
        assert!(promoted, "it is promoted:\n{}", self.log());
    }

    /// Waits until this standby has applied what `primary` has written so far.
    #[track_caller]
    pub fn wait_in_sync(&self, primary: &Postgres) {
        let written: String =
            primary.client(SUPERUSER).query_one("SELECT pg_current_wal_lsn()::text", &[]).expect("a primary").get(0);
        let mut client = self.client(SUPERUSER);
        eventually("the standby is in sync", || {
            let sql = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{written}', false)");
            client.query_one(&sql, &[]).expect("a standby").get(0)
        });
    }
}

/// Copies what a server is writing to; files that go meanwhile are none that a recovery needs.
fn copy_live(from: &Path, to: &Path) {
    let output = as_server_user(Command::new("cp").arg("-a").arg(from).arg(to)).output().expect("cp runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_gone = |line: &str| line.ends_with("No such file or directory");
    assert!(output.status.success() || said.lines().all(is_gone), "{} cannot be copied: {said}", from.display());
}
