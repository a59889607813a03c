//! Three sentinels, a master and two replicas: the master is killed, and comes back.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::load::{self, Client, Route, Told};
use super::rewrite::{settings, PASSWORD, SETTINGS};
use super::{follows, is_master, wait_drained, watch};
use crate::faults::sweep::number_of_env;
use crate::support::process::{free_port, Process};
use crate::support::server::server_program;
use crate::support::{eventually, guardian, marked, wait_for, Redis, Reply, StopAtEnd, Wire};

const NODES: usize = 3;
const FAMILIES: i64 = 4;

/// Of the family that shows that a new master goes on.
const PROBE: i64 = FAMILIES;

struct Sentinel {
    port: u16,
    process: Option<Process>,
    folder: PathBuf,
}

impl Sentinel {
    fn start(master: u16) -> Sentinel {
        let (port, folder) = (free_port(), guardian::folder("sentinel"));
        let file = folder.join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".into(),
            "protected-mode no".into(),
            format!("dir {}", folder.display()),
            format!("sentinel monitor bear 127.0.0.1 {master} 2"),
            "sentinel down-after-milliseconds bear 1000".into(),
            "sentinel failover-timeout bear 6000".into(),
        ];
        std::fs::write(&file, lines.join("\n") + "\n").expect("its settings");
        let mut command = Command::new(server_program());
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Some(Process::spawn(&mut command, "KILL"));
        Sentinel { port, process, folder }
    }

    /// Where it says that the master is.
    fn master(&self) -> Option<u16> {
        let mut wire = Wire::try_connect(self.port).ok()?;
        if !wire.try_send(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bear"]) {
            return None;
        }
        match wire.try_receive().ok()? {
            Reply::Array(address) => address[1].text().parse().ok(),
            _ => None,
        }
    }

    /// Does it know so many replicas and other sentinels of it?
    fn knows(&self, replicas: i64, others: i64) -> bool {
        let Ok(mut wire) = Wire::try_connect(self.port) else { return false };
        let Reply::Array(_) = wire.run("SENTINEL MASTER bear") else { return false };
        let master = wire.run("SENTINEL MASTER bear").map();
        let number = |name: &str| master[name].text().parse::<i64>().unwrap_or(0);
        number("num-slaves") == replicas && number("num-other-sentinels") == others
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Route for Vec<Sentinel> {
    /// Who goes by one sentinel alone may be sent to a master that is none any more, once it is back.
    fn next(&self, _: Option<u16>, _: Option<u16>) -> u16 {
        wait_for("most sentinels know the master", || {
            let known: Vec<u16> = self.iter().filter_map(Sentinel::master).collect();
            known.iter().copied().find(|port| known.iter().filter(|other| *other == port).count() >= 2)
        })
    }
}

fn start(url: &str) -> Vec<Redis> {
    let build = || {
        let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).catalog(load::CATALOG).append_only();
        redis.config("appendfsync", "always").configs(&SETTINGS).module_arg("max-fills 500")
    };
    let master = build().start();
    let replicas: Vec<Redis> = (1..NODES).map(|_| build().replica_of(&master).start()).collect();
    replicas.iter().for_each(|replica| replica.wait_in_sync(&master));
    std::iter::once(master).chain(replicas).collect()
}

#[test]
fn what_is_confirmed_survives_and_settings_are_kept_and_no_secret_is_written() {
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(15);
    let database = load::database(FAMILIES + 1);
    // A role that may do all: Postgres does not ask for its password, which is a secret all the same.
    let url = database.url().replacen('@', &format!(":{PASSWORD}@"), 1);
    assert!(url.contains(PASSWORD));
    let mut nodes = start(&url);
    // The first dies with what nobody has written down.
    assert!(nodes[1..].iter().all(|node| node.run("CONFIG SET bear.apply-linger-ms 3").is_ok()));
    let before: Vec<_> = nodes.iter().map(settings).collect();
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(nodes[0].port())).collect();
    for sentinel in &sentinels {
        eventually("the sentinels know each other", || sentinel.knows(NODES as i64 - 1, 2));
    }
    let stop = AtomicBool::new(false);
    let (mut losses, mut probes) = (Vec::new(), Told::default());
    let mut promoted = 0;
    let mut told: Vec<Told> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..FAMILIES)
            .map(|family| {
                let (route, database, stop) = (&sentinels, &database, &stop);
                let client =
                    Client { family, waits: family % 2 == 0, route, database, stop, seed: seed + family as u64 };
                scope.spawn(move || client.run())
            })
            .collect();
        let end = StopAtEnd(&stop);
        eventually("jobs are applied", || marked::applied(&database).len() > 100);
        let begun = Instant::now();
        nodes[0].kill9();
        promoted = wait_for("one is promoted", || (1..NODES).find(|node| is_master(&nodes[*node])));
        let took = watch(&nodes[promoted], PROBE, "probe", begun, &mut probes);
        println!("{took}");
        assert!(took.applied < Duration::from_secs(4), "it goes on by itself: {took:?}");
        // Until a sentinel demotes it, which takes ten seconds, it is a master, too, and applies what it has.
        let port = nodes[promoted].port();
        eventually("all sentinels say so", || sentinels.iter().all(|sentinel| sentinel.master() == Some(port)));
        nodes[0].start_again();
        wait_drained(FAMILIES, |line| nodes[0].run(line));
        if number_of_env("BEAR_TEST_FAILOVERS").is_none() {
            assert!(nodes[0].run(&format!("REPLICAOF 127.0.0.1 {port}")).is_ok());
            assert!(nodes[0].run("CONFIG REWRITE").is_ok());
        }
        eventually("the old master follows", || follows(&nodes[0], port));
        losses.push((begun, Instant::now()));
        drop(end);
        clients.into_iter().map(|client| client.join().expect("a client does not fail")).collect()
    });
    let master = &nodes[promoted];
    wait_drained(FAMILIES + 1, |line| master.run(line));
    told.push(probes);
    let lost = load::check(&database, &told, &losses);
    load::check_answers(&database, FAMILIES + 1, |line| master.run(line));
    let sent: usize = told.iter().map(|told| told.sent.len()).sum();
    println!("seed {seed}: {sent} jobs sent, {lost} lost that no WAIT had confirmed");

    // By the sentinels, of those whose role or master they have changed.
    for (index, before) in before.iter().enumerate() {
        let file = nodes[index].config_file();
        assert!(file.contains("# Generated by CONFIG REWRITE"), "{file}");
        assert!(!file.contains(PASSWORD), "{file}");
        assert_eq!(settings(&nodes[index]), *before, "node {index}");
    }
    nodes[promoted].restart();
    assert_eq!(settings(&nodes[promoted]), before[promoted]);
}
