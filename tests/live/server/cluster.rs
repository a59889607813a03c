//! In a cluster: a space is one slot, and keys of several slots never go in one command. One node that has all slots.

use std::time::Duration;

use crate::support::bears;
use crate::support::http;
use crate::support::process::free_port;
use crate::support::server::Builder;
use crate::support::{eventually, stays, Cluster, Database, Postgres, Redis, Reply};

/// Bears and their dens depend on each other: they share a slot.
fn grouped() -> String {
    bears::WITH_DENS.replace("[bear]\n", "[bear]\ngroup = \"zoo\"\n").replace("[den]\n", "[den]\ngroup = \"zoo\"\n")
}

fn node(database: &Database, catalog: &str) -> Builder {
    Redis::builder()
        .postgres(database)
        .catalog(catalog)
        .config("cluster-enabled", "yes")
        // By itself it takes the port plus 10000, which not every free port leaves room for.
        .config("cluster-port", free_port())
}

#[track_caller]
fn wait_ready(redis: &Redis) {
    eventually("the cluster is ready", || redis.run("CLUSTER INFO").text().contains("cluster_state:ok"));
}

fn start(database: &Database) -> Redis {
    let redis = node(database, &grouped()).append_only().start();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    redis
}

/// Has one entry of each section, both of bear 5.
fn fill(redis: &Redis) {
    assert_eq!(redis.run("BEAR.QUERY {zoo}:bear all").json().as_array().unwrap().len(), 8);
    assert_eq!(redis.run("BEAR.QUERY {zoo}:den x 1").text(), r#"[{"id":1}]"#);
    redis.wait_stored();
    assert_eq!(redis.run("SMEMBERS {zoo}:bear:meta:5:caches").sorted_texts(), ["{zoo}:bear:all", "{zoo}:den:x:1"]);
}

/// The channel is in the space's slot: there its client listens and asks.
#[test]
fn the_end_of_a_fetch_is_told_by_the_slots_node() {
    let database = bears::database();
    let redis = start(&database);
    let mut wire = redis.resp3_wire();
    let refused = wire.run("BEAR.QUERY {zoo}:bear NOBLOCK web-1 all");
    assert!(refused.error().starts_with("ERR in a cluster the name after NOBLOCK bears the space's hash tag, {zoo}"));
    wire.begin("SSUBSCRIBE bear:fill:{zoo}:web-1");
    assert!(matches!(wire.receive(), Reply::Push(_)));
    assert_eq!(wire.run("BEAR.QUERY {zoo}:bear NOBLOCK {zoo}:web-1 all"), Reply::Nil);
    let Reply::Push(parts) = wire.receive() else { panic!("a push") };
    assert_eq!([parts[0].text(), parts[1].text()], ["smessage", "bear:fill:{zoo}:web-1"]);
    let begins = r#"{"space":"{zoo}:bear","call":["all"],"key":"{zoo}:bear:all","status":"stored","result":[{"id":1}"#;
    assert!(parts[2].text().starts_with(begins), "{parts:?}");
}

/// Its keys are in one slot, and only the node of that slot carries it out.
#[test]
fn a_schedule_is_its_slots_nodes() {
    let redis = Redis::builder()
        .catalog("[mail]\n[mail.job.SEND]\nclaim = {}\n[mail.schedule.own]\nevery = \"100ms\"\njob = \"SEND\"\n")
        .append_only()
        .config("appendfsync", "always")
        .config("cluster-enabled", "yes")
        .config("cluster-port", free_port())
        .config("cluster-require-full-coverage", "no")
        .start();
    let slot = redis.run("CLUSTER KEYSLOT {mail}").int();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    let ticks = || redis.run("XLEN {mail}:queue:work");
    eventually("it ticks", || ticks().int() > 2);
    assert!(redis.run("EXISTS {mail}:queue:schedules:state").int() == 1);
    assert!(redis.run(&format!("CLUSTER DELSLOTS {slot}")).is_ok());
    assert!(ticks().is_error());
    // What was under way when the slot went is in the file by now.
    let written = redis.aof().len();
    stays("it rests", Duration::from_millis(500), || redis.aof().len() == written);
    assert!(redis.run(&format!("CLUSTER ADDSLOTS {slot}")).is_ok());
    eventually("it is taken up again", || redis.aof().len() > written);
}

#[test]
fn a_row_drops_entries_of_all_sections_of_its_group() {
    let database = bears::database();
    let redis = start(&database);
    fill(&redis);
    assert_eq!(redis.run("BEAR.INVALIDATE {zoo}:bear ROW 5"), Reply::Int(2));
    for call in ["{zoo}:bear CACHED all", "{zoo}:den CACHED x 1"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")), Reply::Nil, "{call}");
    }
    eventually("no key is left in any slot", || redis.keys().is_empty());
    fill(&redis);
    assert!(!redis.run("DEL {zoo}:bear:meta:5:caches").is_error());
    eventually("the other section's entry goes, too", || redis.run("BEAR.QUERY {zoo}:den CACHED x 1").is_nil());
}

#[test]
fn a_node_of_a_cluster_starts_cold() {
    let database = bears::database();
    let mut redis = start(&database);
    fill(&redis);
    redis.restart();
    wait_ready(&redis);
    for call in ["{zoo}:bear CACHED all", "{zoo}:den CACHED x 1"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")), Reply::Nil, "{call}");
    }
    eventually("what was stored before is swept", || redis.keys().is_empty());
    fill(&redis);
    assert_eq!(redis.run("BEAR.INVALIDATE {zoo}:bear ROW 5"), Reply::Int(2));
}

/// Sections in slots of their own, which one sweep and one large removal go through.
const SEVERAL: [&str; 6] = ["ant", "bee", "cat", "dog", "eel", "fox"];

/// Keys of several slots in one call fail, and on Valkey 9 all that a module calls after them: so none is made.
#[test]
fn what_is_removed_from_several_slots_is_gone_everywhere() {
    let catalog: String = SEVERAL
        .iter()
        .map(|name| format!("[{name}]\nid = \"int\"\n[[{name}.value]]\ncall = \"made {{id:int}}\"\n"))
        .collect();
    let mut cluster = Cluster::start(1, |_| {
        let builder = Redis::builder().catalog(&catalog).append_only().config("notify-keyspace-events", "Kg");
        builder.config("appendfsync", "always")
    });
    let replica = cluster.add(Redis::builder().catalog(&catalog));
    cluster.meet();
    cluster.replicate(replica, 0);
    let made = |cluster: &Cluster, index: usize| -> Vec<String> {
        let keys = cluster.node(index).keys().into_iter();
        keys.filter(|key| key.contains(":made:") || key.contains(":meta:")).collect()
    };
    let fill = |cluster: &Cluster| {
        for (name, id) in SEVERAL.iter().flat_map(|name| (0..20).map(move |id| (name, id))) {
            assert_eq!(
                cluster.node(0).run(&format!("BEAR.PUT {name} 2 made {id} [{id}] ROW {name} {id}")),
                Reply::Int(1)
            );
        }
        cluster.node(0).wait_stored();
        eventually("the replica has it", || made(cluster, replica) == made(cluster, 0));
        assert_eq!(made(cluster, 0).len(), 40 * SEVERAL.len());
    };
    fill(&cluster);
    // All that is found is removed, whatever its slots.
    cluster.node_mut(0).restart();
    cluster.wait_ready();
    eventually("it is swept", || made(&cluster, 0).is_empty() && made(&cluster, replica).is_empty());
    fill(&cluster);
    let master = cluster.node(0);
    // Entries of several slots that are to be removed at once: another hand has touched them.
    let mut wire = master.wire();
    SEVERAL.iter().for_each(|name| wire.send(&["PERSIST", &format!("{{{name}}}:made:0")]));
    SEVERAL.iter().for_each(|_| assert_eq!(wire.receive(), Reply::Int(1)));
    eventually("their spaces are cold", || made(&cluster, 0).is_empty() && made(&cluster, replica).is_empty());
    fill(&cluster);
    let mut events = master.wire();
    events.begin("PSUBSCRIBE __keyspace@0__:{eel}:made:*");
    assert!(!events.receive().is_error());
    for name in SEVERAL {
        assert_eq!(master.run(&format!("BEAR.INVALIDATE {name} ROW 7")), Reply::Int(1), "{name}");
        assert_eq!(master.run(&format!("BEAR.INVALIDATE {name} ALL")), Reply::Int(19), "{name}");
    }
    let told: std::collections::BTreeSet<String> = (0..20).map(|_| events.receive().list()[2].text()).collect();
    assert_eq!(told.len(), 20, "{told:?}");
    eventually("no key is left", || made(&cluster, 0).is_empty() && made(&cluster, replica).is_empty());
    let removed: Vec<_> = master.aof().into_iter().flatten().filter(|command| command.name() == "UNLINK").collect();
    for name in SEVERAL {
        let key = format!("{{{name}}}:made:7").into_bytes();
        assert!(removed.iter().any(|command| command.args().contains(&key)), "{name}: {removed:?}");
    }
    let one_slot = |command: &crate::support::aof::Command| {
        let tag = |key: &Vec<u8>| key.split(|byte| *byte == b'}').next().map(<[u8]>::to_vec);
        command.args().windows(2).all(|keys| tag(&keys[0]) == tag(&keys[1]))
    };
    assert!(removed.iter().all(one_slot), "{removed:?}");
}

#[test]
fn keys_of_others_are_left_alone_and_its_own_known_again() {
    let database = bears::database();
    let mut redis = start(&database);
    fill(&redis);
    assert!(redis.run("SET {zoo}:den:x:7 mine").is_ok());
    assert_eq!(redis.run("BEAR.QUERY {zoo}:den x 7").text(), r#"[{"id":7}]"#);
    redis.wait_stored();
    assert_eq!(redis.run("GET {zoo}:den:x:7").text(), "mine");
    redis.kill9();
    redis.start_again();
    wait_ready(&redis);
    eventually("it has looked around", || redis.info("bear").int("bear_sweeping_all") == 0);
    assert_eq!(redis.info("bear").int("bear_foreign_sections"), 0);
    fill(&redis);
    assert_eq!(redis.run("GET {zoo}:den:x:7").text(), "mine");
    // A dataset that has not been bear's.
    assert!(redis.run("FLUSHALL").is_ok());
    assert!(redis.run("SET {zoo}:bear:all mine").is_ok());
    redis.kill9();
    redis.start_again();
    wait_ready(&redis);
    eventually("it is refused", || redis.run("BEAR.QUERY {zoo}:bear all").is_error());
    assert!(redis.run("BEAR.QUERY {zoo}:bear all").error().starts_with("FOREIGN "));
    assert_eq!(redis.run("BEAR.QUERY {zoo}:den x 1").text(), r#"[{"id":1}]"#);
    assert_eq!(redis.run("GET {zoo}:bear:all").text(), "mine");
}

#[test]
fn a_catalog_whose_sections_depend_on_each_other_over_slots_is_refused() {
    let database = bears::database();
    let own = Redis::builder().config("cluster-enabled", "yes").config("cluster-port", free_port());
    let log = own.try_start().err().expect("the bear catalog is not loaded");
    let reason =
        "what depends on each other shares a slot: job DELETE_COLOR of section 'color' changes rows of 'bear'; \
                  group = \"bear\" in each of bear, color puts them into one";
    assert!(log.contains(reason), "{log}");
    let redis = start(&database);
    std::fs::write(redis.catalog_path(), bears::WITH_DENS).unwrap();
    let refused = redis.run("BEAR.RELOAD");
    let reason =
        "'x {x:int}' of section 'den' depends on rows of 'bear'; group = \"bear\" in each of bear, den puts them";
    assert!(refused.error().starts_with("ERR nothing is changed: ") && refused.error().contains(reason), "{refused:?}");
    assert_eq!(redis.run("BEAR.QUERY {zoo}:den x 1").text(), r#"[{"id":1}]"#);
}

/// `bear.inbox yes` used to be taken, and rows of `bear.enqueue` stayed open without a word.
#[test]
fn an_inbox_is_refused_and_one_of_redis_conf_is_told_of() {
    const REASON: &str = "a cluster has no inbox: rows of bear.inbox in Postgres stay as they are";
    let database = bears::database();
    let redis = start(&database);
    let state = |redis: &Redis| redis.info("bear_inbox").text("bear_inbox_state").to_owned();
    for value in ["auto", "no"] {
        assert!(redis.wire().call(&["CONFIG", "SET", "bear.inbox", value]).is_ok());
        let refused = redis.run("CONFIG SET bear.inbox yes");
        assert!(refused.error().contains(REASON), "{refused:?}");
        assert_eq!((redis.config("bear.inbox"), state(&redis)), (value.to_owned(), "off".to_owned()));
    }
    assert!(!redis.log().contains("inbox"), "{}", redis.log());

    let port = free_port();
    let redis = node(&database, &grouped()).config("bear.metrics-listen", format!("127.0.0.1:{port}"));
    let redis = redis.config("bear.inbox", "yes").start();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    assert_eq!(state(&redis), "down");
    assert!(redis.info("bear_inbox").text("bear_inbox_last_error").starts_with(REASON));
    assert_eq!(redis.log().matches(REASON).count(), 1, "{}", redis.log());
    let health = || http::get(port, "/healthz").body;
    eventually("/healthz says it", || health().contains(&format!("inbox: down: {REASON}")));
    assert!(redis.run("CONFIG SET bear.inbox auto").is_ok());
    assert_eq!(state(&redis), "off");
    assert_eq!(redis.info("bear_inbox").get("bear_inbox_last_error"), None);
    eventually("it says so no more", || !health().contains("inbox"));
}

/// Redis lets nobody SELECT in a cluster, so that each command used to say `SELECT 1 first`, and SELECT that it is not allowed.
#[test]
fn a_database_that_nobody_can_select_is_refused() {
    let database = bears::database();
    let build = |databases: Option<&str>| {
        let builder = node(&database, &grouped()).config("bear.db", 1);
        match databases {
            Some(count) => builder.config("cluster-databases", count),
            None => builder,
        }
    };
    let reason = "bear.db is 1, and nobody can SELECT 1 in this cluster: say bear.db 0; from Valkey 9 on";
    let log = build(None).try_start().err().expect("no cluster has more by default");
    assert!(log.contains(reason), "{log}");
    // Only servers that know the setting start with it.
    let redis = match build(Some("4")).try_start() {
        Err(log) if log.contains("Bad directive") => return,
        started => started.unwrap_or_else(|log| panic!("it does not start:\n{log}")),
    };
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.QUERY {zoo}:bear all").error().contains("SELECT 1 first"));
    assert!(wire.run("SELECT 1").is_ok());
    assert_eq!(wire.run("BEAR.QUERY {zoo}:den x 1").text(), r#"[{"id":1}]"#);
}

/// Two masters, each with half of the slots, and nothing but jobs that tells of changes.
fn two_masters(database: &Database, catalog: &str) -> Cluster {
    let cluster =
        Cluster::start(2, |_| Redis::builder().postgres(database).catalog(catalog).config("bear.feed", "off"));
    (0..cluster.len()).for_each(|index| cluster.node(index).wait_checked());
    cluster
}

/// The node that has the slot of a space.
fn of<'a>(cluster: &'a Cluster, space: &str) -> &'a Redis {
    cluster.node(cluster.owner(cluster.slot(space)).expect("one has it"))
}

const SCHEMA: &str = "CREATE TABLE exam(id int PRIMARY KEY, title text NOT NULL);
    CREATE TABLE booking(id int PRIMARY KEY, guest int NOT NULL, exam int NOT NULL REFERENCES exam);
    INSERT INTO exam VALUES (1, 'old'); INSERT INTO booking SELECT i, i, 1 FROM generate_series(1, 20) i;";

/// A job of `guest` may name rows of any section by how it computes the name.
const TENANTS: &str = r#"
[exam]
id = "int"
[[exam.query]]
call = "{id:int}"
sql = "SELECT id, title FROM exam WHERE id = {id}"
[exam.job.RENAME]
data = { id = "int", title = "text" }
sql = "UPDATE exam SET title = job.title FROM {jobs} job WHERE exam.id = job.id RETURNING job.n, exam.id"
[booking]
id = "int"
tenant = "int"
tenant_column = "guest"
[[booking.query]]
call = "all"
sql = "SELECT b.id, e.title, e.id AS _exam FROM booking b JOIN exam e ON e.id = b.exam WHERE b.guest = {tenant}"
[[booking.query]]
call = "own"
sql = "SELECT id FROM booking WHERE guest = {tenant}"
[booking.job.RENAME]
data = { id = "int", title = "text" }
sql = "UPDATE exam SET title = job.title FROM {jobs} job WHERE exam.id = job.id RETURNING job.n, exam.id, 'ex' || 'am' AS section"
[[booking.value]]
call = "made {id:int}"
"#;

#[test]
fn what_tenants_take_from_a_shared_section_is_answered_and_not_stored() {
    let database = Postgres::shared().database(SCHEMA);
    let cluster = two_masters(&database, TENANTS);
    for guest in 1..=20 {
        let space = format!("{{{guest}}}:booking");
        let node = of(&cluster, &space);
        assert_eq!(node.run(&format!("BEAR.QUERY {space} all")).text(), format!(r#"[{{"id":{guest},"title":"old"}}]"#));
        assert_eq!(node.run(&format!("BEAR.QUERY {space} own")).text(), format!(r#"[{{"id":{guest}}}]"#));
        node.wait_stored();
        assert!(node.run(&format!("BEAR.QUERY {space} CACHED all")).is_nil(), "{space}");
        assert!(!node.run(&format!("BEAR.QUERY {space} CACHED own")).is_nil(), "{space}");
        let put = node.run(&format!("BEAR.PUT {space} 2 made 1 1 ROW exam 1"));
        assert!(put.error().starts_with("ERR in a cluster the rows of 'exam' are in another slot"), "{put:?}");
    }
    let told = cluster.node(0).run("BEAR.CATALOG booking").map()["queries"].list()[0].map()["hints"].list()[0].text();
    assert!(told.starts_with("answered and not stored: rows of 'exam' are in another slot of the cluster"), "{told}");
    // Whoever changes it, wherever: the next answer is new.
    of(&cluster, "exam").run(r#"BEAR.ENQUEUE exam RENAME {"id":1,"title":"new"} BLOCK 0"#);
    let answer = of(&cluster, "{3}:booking").run("BEAR.QUERY {3}:booking all");
    assert_eq!(answer.text(), r#"[{"id":3,"title":"new"}]"#);
}

#[test]
fn a_job_changes_no_rows_of_a_section_in_another_slot() {
    let database = Postgres::shared().database(SCHEMA);
    let cluster = two_masters(&database, TENANTS);
    let job =
        of(&cluster, "{3}:booking").run(r#"BEAR.ENQUEUE {3}:booking RENAME {"id":1,"title":"new"} ATTEMPTS 1 BLOCK 0"#);
    let error = job.map()["error"].map()["message"].text();
    let reason = "the statement changes rows of section 'exam', whose keys are in another slot of the cluster";
    assert!(error.contains(reason), "{error}");
    let title: String = database.client().query_one("SELECT title FROM exam", &[]).unwrap().get(0);
    assert_eq!(title, "old");
}

#[test]
fn jobs_of_one_section_drop_entries_of_another_one_of_the_group() {
    let database = bears::database();
    let catalog = include_str!("../../../catalogs/bear.toml");
    let catalog =
        catalog.replace("[bear]\n", "[bear]\ngroup = \"zoo\"\n").replace("[color]\n", "[color]\ngroup = \"zoo\"\n");
    let cluster = two_masters(&database, &catalog);
    let node = of(&cluster, "{zoo}");
    let others = (0..cluster.len()).map(|index| cluster.node(index));
    for other in others.filter(|other| other.port() != node.port()) {
        assert!(other.run("BEAR.QUERY {zoo}:bear all").error().starts_with("MOVED "));
    }
    let refused = of(&cluster, "bear").run("BEAR.QUERY bear all");
    assert!(refused.error().contains("'bear' is of the group 'zoo'"), "{refused:?}");
    let brown = || node.run("BEAR.QUERY {zoo}:bear colors brown").json().as_array().unwrap().len();
    assert_eq!(brown(), 4);
    node.wait_stored();
    assert!(!node.run("BEAR.QUERY {zoo}:bear CACHED colors brown").is_nil());
    node.run(r#"BEAR.ENQUEUE {zoo}:color DELETE_COLOR {"name":"brown"} BLOCK 0"#);
    assert!(node.run("BEAR.QUERY {zoo}:bear CACHED colors brown").is_nil());
    assert_eq!(brown(), 0);
}

/// Tenants are in slots other than the command's: newer servers find nothing of theirs in it, and would put what it writes where nobody
/// looks for it.
#[test]
fn who_claims_from_any_tenant_gets_jobs_of_all_slots() {
    let catalog = "[mail]\ntenant = \"int\"\n[mail.job.SEND]\nclaim = {}\n";
    let redis = Redis::builder().catalog(catalog).append_only();
    let redis = redis.config("cluster-enabled", "yes").config("cluster-port", free_port()).start();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    wait_ready(&redis);
    let mut wire = redis.wire();
    let claim = "BEAR.CLAIM mail WORKER w COUNT 10 LEASE 600000";
    assert_eq!(wire.run(claim), Reply::Array(Vec::new()));
    for tenant in 1..=5 {
        assert!(!wire.run(&format!("BEAR.ENQUEUE {{{tenant}}}:mail SEND {{}}")).is_error());
    }
    let mut claims = Vec::new();
    eventually("all are claimed", || {
        let reply = wire.run(claim);
        claims.extend(reply.list().iter().map(|claim| claim.map()));
        claims.len() == 5
    });
    let mut waiting = redis.wire();
    waiting.begin(&format!("{claim} BLOCK 30000"));
    redis.wait_blocked(1);
    // Of another tenant, who is claimed from meanwhile.
    let mut other = redis.wire();
    other.begin("BEAR.CLAIM {7}:mail WORKER v LEASE 600000 BLOCK 30000");
    redis.wait_blocked(2);
    let lines = ["BEAR.ENQUEUE {8}:mail SEND {}", "BEAR.ENQUEUE {7}:mail SEND {}", "BEAR.CLAIM {9}:mail WORKER u"];
    lines.iter().for_each(|line| wire.begin(line));
    assert!(lines.iter().all(|_| !wire.receive().is_error()));
    // Who came first gets what came first, of whichever tenant.
    for (claimer, space) in [(&mut waiting, "{8}:mail"), (&mut other, "{7}:mail")] {
        let given = claimer.receive().list()[0].map();
        assert_eq!(given["space"].text(), space);
        claims.push(given);
    }
    for claim in &claims {
        let (space, id) = (claim["space"].text(), claim["id"].text());
        assert_eq!(wire.run(&format!("HEXISTS {space}:queue:work:claims {id}")), Reply::Int(1), "{space}");
        let acknowledged = wire.run(&format!("BEAR.ACK {space} {id} {}", claim["token"].int()));
        assert_eq!(acknowledged, Reply::Int(1), "{space}");
        let slot = wire.run(&format!("CLUSTER KEYSLOT {space}")).int();
        let keys = wire.run(&format!("CLUSTER GETKEYSINSLOT {slot} 100")).sorted_texts();
        assert!(keys.iter().all(|key| key.contains(&space[..space.find('}').expect("a tenant")])), "{keys:?}");
    }
    assert!(wire.run("MULTI").is_ok());
    wire.run(claim);
    let told = wire.run("EXEC");
    assert!(told.list()[0].error().starts_with("ERR in a cluster MULTI and scripts claim from a tenant's own space"));
}
