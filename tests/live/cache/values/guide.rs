//! The two helpers of `docs/guides/cache-aside.md`, each as it stands there, run by the page's programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{figure, lease};
use crate::support::languages::{node, python};
use crate::support::markdown::{blocks, read};
use crate::support::{eventually, guardian, Redis, Reply};

const PAGE: &str = "docs/guides/cache-aside.md";

const SHELF: &str = "{\"category\":7,\"names\":[\"Desk lamp\",\"Floor lamp\"]}";

#[test]
fn the_python_helper_does_as_the_page_says() {
    does_as_the_page_says(&["shelf.py", "cache.py"], python);
}

#[test]
fn the_node_helper_does_as_the_page_says() {
    does_as_the_page_says(&["shelf.mjs", "cache.mjs"], node);
}

struct Stage {
    redis: Redis,
    folder: PathBuf,
    program: &'static str,
    interpreter: fn(&Path) -> Command,
}

fn does_as_the_page_says(files: &[&'static str], interpreter: fn(&Path) -> Command) {
    let folder = guardian::folder("cache-aside");
    for file in files {
        let code = block(&format!("program: {file}"));
        assert!(code.len() < 90, "{file} has {} lines, too many to be read on one screen", code.len());
        std::fs::write(folder.join(file), code.join("\n") + "\n").expect("a file of the program");
    }
    // Its life is over soon, and its lease not.
    let catalog = block("catalog: shelf").join("\n").replace("\"10m\"", "\"1s\"").replace("\"5s\"", "\"20s\"");
    let redis = Redis::builder().catalog(catalog).start();
    let stage = Stage { redis, folder, program: files[0], interpreter };
    it_is_computed_once_and_dropped_by_its_rows(&stage);
    one_waits_for_what_another_computes(&stage);
    a_stale_one_is_computed_anew_beside(&stage);
    an_error_gives_the_lease_up(&stage);
    without_redis_it_is_computed(&stage);
}

fn it_is_computed_once_and_dropped_by_its_rows(stage: &Stage) {
    stage.write_products("Desk lamp");
    assert_eq!(stage.run(), SHELF);
    stage.redis.wait_stored();
    assert_eq!(stage.redis.run("GET page:shelf:7").text(), SHELF);
    assert_eq!(stage.redis.run("SMEMBERS product:meta:2:caches").sorted_texts(), ["page:shelf:7"]);
    assert_eq!(figure(&stage.redis, "leased"), 1);
    stage.write_products("Table lamp");
    assert_eq!(stage.redis.run("BEAR.INVALIDATE product ROW 3"), Reply::Int(0));
    assert_eq!(stage.redis.run("BEAR.INVALIDATE product ROW 1"), Reply::Int(1));
    assert_eq!(stage.run(), SHELF.replace("Desk", "Table"));
    assert_eq!((figure(&stage.redis, "leased"), figure(&stage.redis, "puts_stored")), (2, 2));
    stage.write_products("Desk lamp");
}

fn one_waits_for_what_another_computes(stage: &Stage) {
    let mut wire = stage.redis.wire();
    wire.run("BEAR.INVALIDATE page ALL");
    let token = lease(&mut wire, "page LEASE 60000 shelf 7");
    let waiting = stage.start();
    eventually("it waits", || figure(&stage.redis, "clients_waiting") == 1);
    let put = ["BEAR.PUT", "page", "2", "shelf", "7", "{\"by\":\"another\"}", "TOKEN", &token];
    assert_eq!(wire.call(&put), Reply::Int(1));
    assert_eq!(said(waiting.wait_with_output().expect("it ends")), "{\"by\":\"another\"}");
    // And gets the lease of one who gives up.
    wire.run("BEAR.INVALIDATE page ALL");
    let token = lease(&mut wire, "page LEASE 60000 shelf 7");
    let waiting = stage.start();
    eventually("it waits", || figure(&stage.redis, "clients_waiting") == 1);
    assert_eq!(wire.run(&format!("BEAR.FORGET page {token}")), Reply::Int(1));
    assert_eq!(said(waiting.wait_with_output().expect("it ends")), SHELF);
}

fn a_stale_one_is_computed_anew_beside(stage: &Stage) {
    let is_stale = || stage.redis.resp3_wire().run("BEAR.EXPLAIN page shelf 7").map()["stale"] == Reply::Bool(true);
    eventually("its TTL is over", is_stale);
    stage.write_products("Street lamp");
    assert_eq!(stage.run(), SHELF);
    eventually("it was computed anew", || {
        let mut wire = stage.redis.wire();
        wire.run("BEAR.GET page WAIT 0 shelf 7").list()[0].text().contains("Street lamp")
    });
}

fn an_error_gives_the_lease_up(stage: &Stage) {
    stage.redis.run("BEAR.INVALIDATE page ALL");
    // Whoever looked at the stale one may have a lease on it.
    eventually("no lease is left", || {
        let token = lease_if_any(stage);
        token.into_iter().for_each(|token| drop(stage.redis.run(&format!("BEAR.FORGET page {token}"))));
        figure(&stage.redis, "leases") == 0
    });
    std::fs::remove_file(stage.folder.join("products.json")).expect("it was there");
    let ends = figure(&stage.redis, "lease_ends");
    let output = stage.start().wait_with_output().expect("it ends");
    assert!(!output.status.success(), "{output:?}");
    assert_eq!((figure(&stage.redis, "leases"), figure(&stage.redis, "lease_ends")), (0, ends + 1));
}

fn lease_if_any(stage: &Stage) -> Option<String> {
    let reply = stage.redis.run("BEAR.GET page WAIT 0 shelf 7");
    reply.list().get(1).filter(|token| !token.is_nil()).map(Reply::text)
}

fn without_redis_it_is_computed(stage: &Stage) {
    stage.write_products("Desk lamp");
    let mut command = stage.command();
    command.args(["redis://127.0.0.1:1", "7"]);
    assert_eq!(said(command.output().expect("it ends")), SHELF);
}

impl Stage {
    fn write_products(&self, first: &str) {
        let products = serde_json::json!([
            { "id": 1, "name": first, "category": 7 },
            { "id": 2, "name": "Floor lamp", "category": 7 },
            { "id": 3, "name": "Stool", "category": 8 },
        ]);
        std::fs::write(self.folder.join("products.json"), products.to_string()).expect("a file");
    }

    fn command(&self) -> Command {
        let mut command = (self.interpreter)(&self.folder);
        command.arg(self.program).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> std::process::Child {
        let url = format!("redis://127.0.0.1:{}", self.redis.port());
        self.command().args([&url, "7"]).spawn().expect("it starts")
    }

    #[track_caller]
    fn run(&self) -> String {
        said(self.start().wait_with_output().expect("it ends"))
    }
}

/// What it has printed, without the blanks that Python puts into JSON.
#[track_caller]
fn said(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().replace("\": ", "\":").replace(", \"", ",\"")
}

fn block(note: &str) -> Vec<String> {
    let found = blocks(&read(PAGE)).into_iter().find(|block| block.note.as_deref() == Some(note));
    found.unwrap_or_else(|| panic!("{PAGE} has no block <!-- {note} -->")).lines
}
