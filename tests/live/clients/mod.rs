//! Every command by every client: `tests/clients/cases.json` has the commands and what they are answered, and each client goes through
//! all of it, in both protocols, and by its cluster client before a cluster. The clients of Node are in `clients/node/test/matrix/`,
//! which reads the same file.
//!
//! | file | what |
//! |---|---|
//! | `cases` | the file, and whether a reply is what it says |
//! | `site` | the servers |
//! | `client` | what a client does for a case; the bytes on the wire themselves, by which the others are judged |
//! | `programs` | clients in programs of their own: redis-py |
//! | `multiplexed` | redis-rs, whose connections are shared |

mod cases;
mod client;
mod multiplexed;
mod programs;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use cases::Case;
use client::{Client, Protocol, Raw};
use multiplexed::Multiplexed;
use programs::Program;
use site::Site;

const BOTH: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

/// A new command without its cases fails here.
#[test]
fn every_command_has_a_case_that_is_answered_and_one_that_is_refused() {
    let site = Site::one();
    let mut wire = site.wire();
    let commands: BTreeSet<String> =
        wire.run("COMMAND LIST FILTERBY MODULE bear").sorted_texts().iter().map(|name| name.to_uppercase()).collect();
    let mut has: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for case in cases::read() {
        has.entry(case.name().to_owned()).or_default()[usize::from(case.is_refused())] = true;
    }
    assert_eq!(has.keys().cloned().collect::<BTreeSet<_>>(), commands);
    let lacking: Vec<_> = has.iter().filter(|(_, has)| **has != [true, true]).collect();
    assert!(lacking.is_empty(), "lacks an answer or a refusal: {lacking:?}");
}

/// What clients ask that know no command of a module.
#[test]
fn redis_tells_the_one_key_of_each_command() {
    let site = Site::one();
    let mut wire = site.wire();
    let keyless = ["BEAR.CATALOG", "BEAR.FEED", "BEAR.PROPOSE", "BEAR.RELOAD", "BEAR.ADOPT"];
    for case in cases::read() {
        let words = case
            .words(&BTreeMap::from([("run", "1"), ("id", "1-1"), ("token", "5")].map(|(k, v)| (k.into(), v.into()))));
        // Redis refuses to name keys of what has too few words.
        let is_short = case.call.len() < 2
            || wire.call(&[&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], &words[..]].concat()).is_error();
        let keys = wire.call(&[&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], &words[..]].concat());
        if keyless.contains(&case.name()) {
            assert!(keys.is_error(), "{case:?}: {keys:?}");
        } else {
            assert!(!is_short, "{case:?}: {keys:?}");
            assert_eq!(
                keys.list().iter().map(|key| key.bulk().to_vec()).collect::<Vec<_>>(),
                [words[1].clone()],
                "{case:?}"
            );
        }
    }
}

#[test]
fn the_wire_itself() {
    let site = Site::one();
    for protocol in BOTH {
        go_through(&site, &mut Raw::new(&site, protocol));
    }
}

#[test]
fn redis_py() {
    let site = Site::one();
    for kind in ["sync", "asyncio"] {
        for protocol in BOTH {
            go_through(&site, &mut Program::python(&site, kind, protocol));
        }
    }
}

#[test]
fn redis_py_in_a_cluster() {
    let site = Site::cluster();
    for kind in ["cluster", "asyncio-cluster"] {
        for protocol in BOTH {
            go_through(&site, &mut Program::python(&site, kind, protocol));
        }
    }
    site.was_never_asked_in_vain();
}

#[test]
fn redis_rs() {
    let site = Site::one();
    for protocol in BOTH {
        go_through(&site, &mut Multiplexed::new(&site, protocol));
    }
}

#[test]
fn redis_rs_in_a_cluster() {
    let site = Site::cluster();
    for protocol in BOTH {
        go_through(&site, &mut Multiplexed::of_cluster(&site, protocol));
    }
    site.was_never_asked_in_vain();
}

fn go_through(site: &Site, client: &mut dyn Client) {
    let name = client.name();
    let mut known = BTreeMap::from([("run".to_owned(), name.replace(' ', "-"))]);
    for case in cases::read() {
        let words = case.words(&known);
        client.begin(&words);
        if let Some(meanwhile) = case.meanwhile(&known) {
            site.wait_blocked();
            let done = site.wire_to(&meanwhile[1]).call(&meanwhile);
            assert!(!done.is_error(), "{case:?}: {done:?}");
        }
        let reply = client.finish();
        if let Err(wrong) = case.check(&reply, client.protocol(), &known) {
            panic!("{name}: {}: {wrong}: {reply:?}", case.line());
        }
        case.save(&reply, &mut known);
        site.settle(&case);
    }
}

impl Site {
    /// An entry may stand a moment after its answer, and what follows tells of it.
    fn settle(&self, case: &Case) {
        if case.name().ends_with("QUERY") {
            self.wait_stored();
        }
    }
}
