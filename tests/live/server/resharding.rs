//! Slots of a cluster move from node to node, under load: nothing is lost, repeated, out of order or stale, and nobody has to help.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::jobs::EFFECTS_SQL;
use crate::support::{bears, eventually, Cluster, ClusterClient, Database, Random, Redis, Reply};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "size {start:int} {end:int}"
sql = "SELECT id, name FROM bear WHERE size BETWEEN {start} AND {end} ORDER BY id"
[bear.job.UPDATE_BEAR_NAME]
data = { id = "int", name = "text" }
sql = "UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
"#;

fn start(database: &Database, masters: usize) -> Cluster {
    Cluster::start(masters, |_| Redis::builder().postgres(database).catalog(CATALOG).append_only())
}

/// What the trigger has seen of each bear, in order.
fn effects(database: &Database) -> BTreeMap<i64, Vec<String>> {
    let mut of_bears: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in database.client().query("SELECT bear_id, name FROM effect ORDER BY seq", &[]).expect("the effects") {
        of_bears.entry(row.get(0)).or_default().push(row.get(1));
    }
    of_bears
}

/// Nothing of the slot is at other nodes than its owner, where no job is left.
fn assert_settled(cluster: &Cluster, slot: u16) {
    let owner = cluster.owner(slot).expect("an owner");
    for index in (0..cluster.len()).filter(|index| *index != owner) {
        assert_eq!(cluster.keys_in(index, slot), [""; 0], "node {index} has nothing of what is node {owner}'s");
    }
    assert_eq!(cluster.node(owner).run("XLEN {bear}:queue"), Reply::Int(0));
}

fn wait_settled(client: &mut ClusterClient) {
    eventually("all jobs have settled", || {
        let stats = client.run("BEAR.STATS bear").map();
        ["waiting", "active", "delayed"].iter().all(|state| stats[*state].int() == 0)
    });
}

fn rename(bear: usize, name: &str) -> String {
    format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {{"id":{bear},"name":"{name}"}}"#)
}

/// A queue that is not empty goes to the new owner with all that belongs to it, and goes on there.
#[test]
fn a_queue_goes_on_at_the_new_owner() {
    let database = bears::database_with(EFFECTS_SQL);
    let cluster = start(&database, 2);
    let slot = cluster.slot("bear");
    let (from, mut client) = (cluster.owner(slot).expect("an owner"), cluster.client());
    let to = 1 - from;
    assert!(!client.run(&rename(1, "before")).is_error());
    wait_settled(&mut client);
    for index in 0..2 {
        assert!(cluster.node(index).run("CONFIG SET bear.drain no").is_ok());
    }
    let expected: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    for name in &expected[..10] {
        assert!(!client.run(&rename(1, name)).is_error());
    }
    let delayed = client.run(&format!("{} DELAY 3600000", rename(2, "later")));
    let identity = cluster.node(from).run("GET {bear}:queue:id").text();
    let queue =
        |keys: Vec<String>| -> Vec<String> { keys.into_iter().filter(|key| key.starts_with("{bear}:queue")).collect() };
    let keys = queue(cluster.keys_in(from, slot));
    cluster.move_slot(slot, from, to);
    assert_eq!(queue(cluster.keys_in(to, slot)), keys);
    for name in &expected[10..] {
        assert!(!client.run(&rename(1, name)).is_error());
    }
    assert_eq!(cluster.node(to).run("GET {bear}:queue:id").text(), identity);
    for index in 0..2 {
        assert!(cluster.node(index).run("CONFIG SET bear.drain yes").is_ok());
    }
    let began = Instant::now();
    eventually("all but the delayed one have settled", || client.run("BEAR.STATS bear").map()["waiting"].int() == 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(client.run(&format!("BEAR.PROMOTE bear {}", delayed.text())), Reply::Int(1));
    wait_settled(&mut client);
    let effects = effects(&database);
    assert_eq!(effects[&1], [vec!["before".to_owned()], expected].concat());
    assert_eq!(effects[&2], ["later"]);
    assert_settled(&cluster, slot);
}

/// What is half way is nobody's: the target tells writers to try again, answers queries, and makes no key; the source neither.
#[test]
fn half_way_nobody_writes() {
    let database = bears::database_with(EFFECTS_SQL);
    let cluster = start(&database, 2);
    let slot = cluster.slot("bear");
    let from = cluster.owner(slot).expect("an owner");
    let (source, target) = (cluster.node(from), cluster.node(1 - from));
    let enqueued = source.run(&format!("{} DELAY 200", rename(1, "kept")));
    assert!(!enqueued.is_error(), "{enqueued:?}");
    cluster.begin_move(slot, from, 1 - from);
    let had = cluster.keys_in(from, slot).len();
    assert_eq!(cluster.move_keys(slot, from, 1 - from, 2), 2);
    let mut wire = target.wire();
    let mut asking = |line: &str| {
        assert!(wire.run("ASKING").is_ok());
        wire.run(line)
    };
    let writes = [
        rename(1, "no"),
        "BEAR.INVALIDATE bear ROW 1".into(),
        "BEAR.JOB bear 1-1".into(),
        "BEAR.STATS bear".into(),
        "BEAR.PAUSE bear".into(),
        "BEAR.LOCK bear own 1000".into(),
    ];
    for line in &writes {
        assert!(source.run(line).error().starts_with("ASK "), "{line}");
        assert!(target.run(line).error().starts_with("MOVED "), "{line}");
        let told = asking(line);
        assert!(told.is_error() && told.error().starts_with("TRYAGAIN "), "{line}: {told:?}");
    }
    let shown = asking("BEAR.QUERY bear size 0 1000");
    assert!(shown.text().contains("Baloo"), "{shown:?}");
    // Its time has come meanwhile, and both have looked at it.
    std::thread::sleep(Duration::from_millis(500));
    let has = [from, 1 - from].map(|index| cluster.keys_in(index, slot).len());
    assert_eq!(has, [had - 2, 2]);
    assert!(effects(&database).is_empty());
    while cluster.move_keys(slot, from, 1 - from, 2) > 0 {}
    cluster.end_move(slot, from, 1 - from);
    let began = Instant::now();
    eventually("the job is applied", || !effects(&database).is_empty());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(effects(&database)[&1], ["kept"]);
    wait_settled(&mut cluster.client());
    assert_settled(&cluster, slot);
}

/// What was cached at the one node is not served by the other: it has not been told what has changed since.
#[test]
fn entries_that_come_with_a_slot_are_removed() {
    let database = bears::database();
    let cluster = start(&database, 2);
    let slot = cluster.slot("bear");
    let (from, mut client) = (cluster.owner(slot).expect("an owner"), cluster.client());
    let to = 1 - from;
    assert!(client.run("BEAR.QUERY bear size 0 1000").text().contains("Baloo"));
    cluster.node(from).wait_stored();
    let stored = cluster.keys_in(from, slot);
    assert!(stored.contains(&"{bear}:size:0:1000".to_owned()), "{stored:?}");
    cluster.begin_move(slot, from, to);
    while cluster.move_keys(slot, from, to, 10) > 0 {}
    database.client().execute("UPDATE bear SET name = 'Changed' WHERE id = 1", &[]).expect("a change");
    cluster.end_move(slot, from, to);
    assert!(client.run("BEAR.QUERY bear size 0 1000").text().contains("Changed"));
    cluster.node(to).wait_stored();
    eventually("what came is gone, and what is fetched from then on is stored", || {
        assert!(client.run("BEAR.QUERY bear size 0 1000").text().contains("Changed"));
        let sweeping = cluster.node(to).info("bear").int("bear_sweeping_all");
        sweeping == 0 && !client.run("BEAR.QUERY bear CACHED size 0 1000").is_nil()
    });
    assert_eq!(client.run("BEAR.INVALIDATE bear ROW 1").int(), 1);
    assert_eq!(client.run("BEAR.QUERY bear CACHED size 0 1000"), Reply::Nil);
    assert_eq!(cluster.node(to).info("bear").int("bear_foreign_keys"), 0);
}

/// Who waits for something that has gone is told so: he may ask again, but not enqueue again.
#[test]
fn who_waits_is_sent_on() {
    let catalog = "[mail]\n[mail.job.SEND]\nclaim = {}\n";
    let cluster = Cluster::start(2, |_| Redis::builder().catalog(catalog).append_only());
    let slot = cluster.slot("mail");
    let from = cluster.owner(slot).expect("an owner");
    let source = cluster.node(from);
    let waiting = |line: &str| {
        let mut wire = source.wire();
        wire.begin(line);
        wire
    };
    // Nobody has a key of it yet.
    let early = waiting("BEAR.CLAIM mail WORKER w BLOCK 30000");
    source.wait_blocked(1);
    cluster.move_slot(slot, from, 1 - from);
    let mut early = early;
    assert!(early.receive().error().starts_with("TRYAGAIN "));
    cluster.move_slot(slot, 1 - from, from);

    let mut client = cluster.client();
    let claimed = client.run("BEAR.ENQUEUE mail SEND {} DELAY 1");
    let delayed = client.run("BEAR.ENQUEUE mail SEND {} DELAY 3600000");
    let mut claims = Vec::new();
    eventually("the job is due", || {
        claims = client.run("BEAR.CLAIM mail WORKER w LEASE 600000").list().to_vec();
        !claims.is_empty()
    });
    let token = claims[0].map()["token"].int();
    assert_eq!(claims[0].map()["id"].text(), claimed.text());
    assert!(client.run("BEAR.LOCK mail nightly 600000").int() > 0);
    let mut claimer = waiting("BEAR.CLAIM mail WORKER w BLOCK 30000");
    source.wait_blocked(1);
    let mut locker = waiting("BEAR.LOCK mail nightly 600000 WAIT 30000");
    source.wait_blocked(2);
    let mut enqueuer = waiting("BEAR.ENQUEUE mail SEND {} DELAY 3600000 BLOCK 30000");
    source.wait_blocked(3);
    cluster.move_slot(slot, from, 1 - from);
    for wire in [&mut claimer, &mut locker] {
        let told = wire.receive();
        assert!(told.is_error() && told.error().starts_with("TRYAGAIN "), "{told:?}");
    }
    assert!(enqueuer.receive().error().starts_with("ERR the queue has moved to another node"));
    // The claim is what it was, and so is the lock.
    assert!(client.run("BEAR.LOCK mail nightly 600000").is_nil());
    assert_eq!(client.run(&format!("BEAR.ACK mail {} {token}", claimed.text())), Reply::Int(1));
    let listed = client.run("BEAR.JOBS mail delayed COUNT 10");
    assert_eq!(listed.list().len(), 2, "{listed:?}");
    assert_eq!(listed.list()[0].map()["id"].text(), delayed.text());
    assert_eq!(cluster.keys_in(from, slot), [""; 0]);
}

/// A writer and a reader go where they are sent, while the slot goes back and forth.
#[test]
fn a_slot_moves_back_and_forth_under_load() {
    const SECONDS: u64 = 8;
    let database = bears::database_with(EFFECTS_SQL);
    let cluster = start(&database, 2);
    let slot = cluster.slot("bear");
    let is_over = AtomicBool::new(false);
    let mut acknowledged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let (mut moves, mut random) = (0, Random::new(15));
    let mut longest = Duration::ZERO;
    let mut sent_on = BTreeMap::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut client, mut random) = (cluster.client(), Random::new(7));
            let mut acknowledged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let (bear, name) = (1 + random.below(8), format!("n{number}"));
                number += 1;
                let waits = random.once_in(20);
                let line = rename(bear, &name) + if waits { " BLOCK 5000" } else { "" };
                let reply = client.run(&line);
                let has_moved = reply.is_error() && reply.error().contains("has moved to another node");
                assert!(has_moved || !reply.is_error(), "{line}: {reply:?}");
                acknowledged.entry(bear as i64).or_default().push(name.clone());
                if waits && !has_moved {
                    // Nobody else writes: what is read now is this name.
                    let shown = client.run("BEAR.QUERY bear size 0 1000").json();
                    let row = shown.as_array().unwrap().iter().find(|row| row["id"] == bear).unwrap().clone();
                    assert_eq!(row["name"], name.as_str(), "stale");
                }
            }
            (acknowledged, client.longest, client.sent_on)
        });
        let until = Instant::now() + Duration::from_secs(SECONDS);
        while Instant::now() < until {
            let from = cluster.owner(slot).expect("an owner");
            let to = 1 - from;
            cluster.begin_move(slot, from, to);
            while cluster.move_keys(slot, from, to, 1 + random.below(3)) > 0 {
                std::thread::sleep(Duration::from_millis(random.below(5) as u64));
            }
            cluster.end_move(slot, from, to);
            moves += 1;
            std::thread::sleep(Duration::from_millis(random.below(200) as u64));
        }
        is_over.store(true, Ordering::Relaxed);
        (acknowledged, longest, sent_on) = writer.join().expect("the writer");
    });
    let jobs: usize = acknowledged.values().map(Vec::len).sum();
    println!("{jobs} jobs acknowledged over {moves} moves; the longest command {longest:?}; sent on {sent_on:?}");
    assert!(moves > 5 && jobs > 200, "{moves} moves, {jobs} jobs");
    wait_settled(&mut cluster.client());
    assert_eq!(effects(&database), acknowledged);
    assert_settled(&cluster, slot);
}

/// No key, no notification: nobody tells this node that its slot was elsewhere, where the change was told.
#[test]
fn what_was_fetched_before_a_slot_left_and_came_back_is_not_stored() {
    let database = bears::database_with(EFFECTS_SQL);
    let catalog = CATALOG
        .replace("[[bear.query]]\n", "[[bear.query]]\ntrust = \"a gate holds it\"\n")
        .replace("SELECT id, name FROM bear WHERE", "SELECT id, name FROM gate(), bear WHERE");
    let cluster = Cluster::start(2, |_| {
        Redis::builder().postgres(&database).catalog(catalog.as_str()).append_only().config("bear.feed", "off")
    });
    let slot = cluster.slot("bear");
    let from = cluster.owner(slot).expect("an owner");
    let (source, target) = (cluster.node(from), cluster.node(1 - from));
    cluster.node(from).wait_checked();
    let mut gate = database.close_gate();
    let mut early = source.wire();
    early.begin("BEAR.QUERY bear size 0 1000");
    gate.wait(1);
    cluster.move_slot(slot, from, 1 - from);
    database.run("UPDATE bear SET name = 'Renamed' WHERE id = 1");
    assert_eq!(target.run("BEAR.INVALIDATE bear ROW 1"), Reply::Int(0));
    cluster.move_slot(slot, 1 - from, from);
    gate.open();
    assert!(!early.receive().is_error());
    let shown = source.run("BEAR.QUERY bear size 0 1000").text();
    assert!(shown.contains("Renamed"), "{shown}");
    source.wait_stored();
    assert!(!source.run("BEAR.QUERY bear CACHED size 0 1000").is_nil(), "what is fetched now is stored");
}

/// Who claims from any tenant waits on while tenants go, and is sent on when the slot of the bare name goes.
#[test]
fn who_claims_from_any_tenant_goes_with_the_slot_of_the_bare_name() {
    let catalog = "[mail]\ntenant = \"int\"\n[mail.job.SEND]\nclaim = {}\n";
    let cluster = Cluster::start(2, |_| Redis::builder().catalog(catalog).append_only());
    let slot = cluster.slot("mail");
    let at = cluster.owner(slot).expect("an owner");
    let here = |tenant: &usize| cluster.owner(cluster.slot(&format!("{{{tenant}}}"))) == Some(at);
    let [goes, stays_here] = (1..).filter(here).take(2).collect::<Vec<_>>()[..] else { panic!("two tenants") };
    let (node, mut client) = (cluster.node(at), cluster.client());
    // Both have keys there.
    for tenant in [goes, stays_here] {
        assert!(!client.run(&format!("BEAR.ENQUEUE {{{tenant}}}:mail SEND {{}} DELAY 3600000")).is_error());
    }
    let mut worker = node.wire();
    worker.begin("BEAR.CLAIM mail WORKER w BLOCK 30000");
    node.wait_blocked(1);
    cluster.move_slot(cluster.slot(&format!("{{{goes}}}")), at, 1 - at);
    assert!(worker.silent_for(Duration::from_millis(300)), "it waits on");
    let job = client.run(&format!("BEAR.ENQUEUE {{{stays_here}}}:mail SEND {{}}"));
    let claims = worker.receive();
    assert_eq!(claims.list()[0].map()["id"].text(), job.text());
    worker.begin("BEAR.CLAIM mail WORKER w BLOCK 30000");
    node.wait_blocked(1);
    cluster.move_slot(slot, at, 1 - at);
    assert!(worker.receive().error().starts_with("TRYAGAIN "));
    assert!(node.run("BEAR.CLAIM mail WORKER w").error().starts_with("MOVED "));
}
