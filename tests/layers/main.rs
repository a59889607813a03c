//! The layers and the rooms in them: arrows point down only, nothing goes in circles, and unsafe code stays where it is.
//! Reads the source; needs no server.
//!
//! ```text
//! commands -> server -> keyspace -> workers -> postgres -> core
//!     \---------\----------\--> redis_api (the module API; all unsafe code; knows nobody)
//! failpoints, mutations: below all of them; where a test of crashes may stop a thread, or put a fault in
//! ```

mod circles;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{tokens, used, without_tests};

/// From the top down: a layer may use what stands after it.
const LAYERS: [&str; 8] = ["commands", "server", "keyspace", "workers", "postgres", "core", "failpoints", "mutations"];

/// The module API, which is beside the layers: these use it, and it uses none of them.
const REDIS_API: &str = "redis_api";
const USERS_OF_REDIS_API: [&str; 3] = ["commands", "server", "keyspace"];

/// A room, and which others it may use.
type Room = (&'static str, &'static [&'static str]);

/// The rooms of a layer, and which rooms of it each may use besides itself.
const ROOMS: [(&str, &[Room]); 2] = [
    (
        "core",
        &[
            ("values", &[]),
            ("sql", &["values"]),
            ("calls", &["sql", "values"]),
            ("schedules", &["values"]),
            ("limits", &[]),
            ("catalog", &["calls", "limits", "schedules", "sql", "values"]),
            ("derive", &["sql", "values"]),
            ("prove", &["derive", "catalog", "calls", "values"]),
            ("complete", &["prove", "derive", "catalog", "calls", "sql", "values"]),
            ("propose", &["calls", "sql", "values"]),
            ("changes", &["catalog", "calls", "values"]),
            ("feed", &["catalog", "sql", "values"]),
            ("cache", &["changes", "catalog", "calls", "values"]),
            ("jobs", &["changes", "feed", "catalog", "schedules", "values"]),
            ("claims", &["jobs", "catalog", "values"]),
            ("inbox", &["claims", "jobs", "catalog", "values"]),
            ("locks", &["claims"]),
            ("events", &["claims", "jobs", "calls", "values"]),
            ("metrics", &["calls"]),
            ("slots", &[]),
        ],
    ),
    (
        "postgres",
        &[
            ("values", &[]),
            ("connect", &["values"]),
            ("read", &["connect", "values"]),
            ("apply", &["read", "connect", "values"]),
            ("check", &["apply", "connect", "values"]),
            ("propose", &["check", "connect", "values"]),
            ("feed", &["check", "connect", "values"]),
            ("inbox", &["connect"]),
        ],
    ),
];

/// What only one layer may name.
const OWNED: [(&str, &str); 5] = [
    ("redis_module", REDIS_API),
    ("r2d2", "postgres"),
    ("rustls", "postgres"),
    ("hyper", "workers"),
    ("prometheus_client", "workers"),
];

/// What is no business of `core`: it does no I/O, starts no thread and reads no clock.
const NOT_IN_CORE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// What is wrong with a file of `layer` (None: lib.rs, which ties the layers together); `module` is the file's path
/// of modules below the crate.
fn faults(layer: Option<&str>, module: &[&str], source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let module: Vec<String> = module.iter().map(|name| (*name).to_owned()).collect();
    let is_test = module.iter().any(|name| ["tests", "model"].contains(&name.as_str()));
    let mut faults = Vec::new();
    if layer != Some(REDIS_API) && tokens.iter().any(|token| token == "unsafe") {
        faults.push("unsafe code".to_owned());
    }
    let Some(layer) = layer else { return faults };
    let paths: BTreeSet<Vec<String>> =
        used(&tokens, &module, &BTreeMap::new()).into_iter().map(|used| used.path).collect();
    let layers: BTreeSet<&String> = paths.iter().filter_map(|path| path.first()).collect();
    for used in layers {
        let allowed = match used.as_str() {
            _ if used == layer => true,
            REDIS_API => USERS_OF_REDIS_API.contains(&layer),
            _ => match (rank(layer), rank(used)) {
                (Some(own), Some(other)) => own < other,
                // redis_api uses no layer, and nobody uses what is no layer.
                _ => false,
            },
        };
        if !allowed {
            faults.push(format!("uses {used}"));
        }
    }
    for (name, owner) in OWNED {
        if layer != owner && tokens.iter().any(|token| token == name) {
            faults.push(format!("names {name}"));
        }
    }
    // A test may bring what it tests together with what uses it.
    let code = without_tests(&tokens);
    if !is_test {
        let paths = used(code, &module, &BTreeMap::new());
        let rooms: BTreeSet<String> = paths.iter().filter_map(|used| room_fault(&module, &used.path)).collect();
        faults.extend(rooms);
    }
    if layer == "core" && !is_test {
        let code = code.concat();
        faults.extend(NOT_IN_CORE.iter().filter(|name| code.contains(**name)).map(|name| format!("uses {name}")));
    }
    faults
}

/// What is wrong with a file's use of a path of its own layer, in another room.
fn room_fault(module: &[String], path: &[String]) -> Option<String> {
    let (_, rooms) = ROOMS.iter().find(|(layer, _)| module.first().is_some_and(|own| own == layer))?;
    if path.first() != module.first() {
        return None;
    }
    let room = module.get(1)?;
    let other = path.get(1)?;
    let Some((_, may_use)) = rooms.iter().find(|(name, _)| name == room) else {
        return Some(format!("{room} is no room of {}", module[0]));
    };
    // What is no room is the layer's own: its tests, and what its mod.rs hands on.
    let is_room = rooms.iter().any(|(name, _)| name == other);
    (is_room && other != room && !may_use.contains(&other.as_str())).then(|| format!("{room} uses {other}"))
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == layer)
}

#[test]
fn arrows_point_down_and_unsafe_code_stays_where_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for file in source::files(&root) {
        let module: Vec<&str> = file.module.iter().map(String::as_str).collect();
        let layer = module.first().copied();
        if let Some(layer) = layer {
            assert!(rank(layer).is_some() || layer == REDIS_API, "{layer} is no layer");
            seen.insert(layer.to_owned());
        }
        let faults = faults(layer, &module, &file.source);
        found.extend(faults.into_iter().map(|fault| format!("{}: {fault}", file.path.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(seen.len(), LAYERS.len() + 1, "every layer was looked at: {seen:?}");
}

#[test]
fn no_files_use_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(circles::find(&source::files(&root)), Vec::<Vec<String>>::new());
}

#[test]
fn the_check_finds_what_it_is_for() {
    let bad = [
        ("core", "core/calls/keys", "use crate::postgres::Pool;", "uses postgres"),
        ("core", "core/calls/keys", "use crate::{core::names, workers::Workers};", "uses workers"),
        ("core", "core/calls/keys", "fn f() { super::super::super::server::with(|_| ()) }", "uses server"),
        ("core", "core/calls/keys", "mod tests { use super::super::super::super::keyspace::Left; }", "uses keyspace"),
        ("core", "core/calls/keys", "fn f() -> u64 { Instant::now().elapsed().as_secs() }", "uses Instant::now"),
        ("core", "core/calls/keys", "use std::fs;", "uses std::fs"),
        ("core", "core/calls/keys", "use redis_module::raw;", "names redis_module"),
        ("workers", "workers", "use crate::redis_api::wake;", "uses redis_api"),
        ("postgres", "postgres/connect/pool", "use crate::workers::Outcome;", "uses workers"),
        ("keyspace", "keyspace/store", "fn f(s: &crate::server::Server) {}", "uses server"),
        ("server", "server/tick", "use crate::commands;", "uses commands"),
        ("redis_api", "redis_api/key", "fn f() { g(crate::core::names::h()) }", "uses core"),
        ("server", "server/tick", "use crate::VERSION;", "uses VERSION"),
        ("server", "server/tick", "fn f() { unsafe { g() } }", "unsafe code"),
        ("server", "server/tick", "use r2d2::Pool;", "names r2d2"),
        ("core", "core/calls/keys", "use crate::core::catalog::Section;", "calls uses catalog"),
        ("core", "core/values/value", "use super::super::jobs::batch;", "values uses jobs"),
        ("core", "core/jobs/queue", "fn f() { crate::core::cache::index::g() }", "jobs uses cache"),
        ("postgres", "postgres/connect/pool", "use crate::postgres::{feed, connect};", "connect uses feed"),
        ("core", "core/attic/value", "use crate::core::values;", "attic is no room of core"),
    ];
    for (layer, module, source, expected) in bad {
        let module: Vec<&str> = module.split('/').collect();
        assert_eq!(faults(Some(layer), &module, source), [expected], "{source}");
    }
    assert_eq!(faults(None, &[], "unsafe fn f() {}"), ["unsafe code"]);
}

#[test]
fn the_check_lets_pass_what_is_right() {
    let good = [
        ("server", "server/tick", "use super::{errors, Server}; use crate::{core::keys::{self, Row}, keyspace};"),
        ("server", "server/tick", "// unsafe, crate::commands\nlet x = \"unsafe crate::commands\"; let y = '\"';"),
        ("server", "server/tick", "/* a /* nested */ unsafe */ let x = r#\"unsafe \" \"#; fn f<'a>(x: &'a u8) {}"),
        ("keyspace", "keyspace", "use crate::redis_api::Context; use crate::core::index::Index;"),
        ("core", "core/cache/index", "use super::glob; mod tests { use super::*; use super::super::names; }"),
        (
            "core",
            "core/cache/index",
            "use crate::core::changes::image; #[cfg(test)] mod tests { use crate::core::jobs; }",
        ),
        ("core", "core/cache/fills/model", "use crate::core::jobs;"),
        ("core", "core/cache/index", "fn f() {} #[cfg(test)] mod tests { fn g() { std::time::Instant::now(); } }"),
        ("redis_api", "redis_api/key", "use super::Context; pub(crate) use entry; unsafe fn f() {}"),
    ];
    for (layer, module, source) in good {
        let module: Vec<&str> = module.split('/').collect();
        assert_eq!(faults(Some(layer), &module, source), Vec::<String>::new(), "{source}");
    }
}
