//! Slots that move as a whole, CLUSTER MIGRATESLOTS of Valkey 9: what [`super::resharding`] asks of those that go key by key.

use std::time::{Duration, Instant};

use super::slot_load::{self, Load};
use crate::support::{eventually, stays, Cluster, Random, Redis, Reply};

/// While a slot is on its way all is as it was at the source, and nothing of it is the target's; then the target has all of it.
#[test]
fn a_slot_that_is_on_its_way_is_the_sources_alone() {
    let catalog = "[mail]\nid = \"int\"\n[[mail.value]]\ncall = \"made {id:int}\"\n[mail.job.SEND]\nclaim = {}\n";
    let cluster =
        Cluster::start(2, |_| Redis::builder().catalog(catalog).append_only().config("enable-debug-command", "yes"));
    if !cluster.migrates_slots() {
        return;
    }
    let slot = cluster.slot("mail");
    let from = cluster.owner(slot).expect("an owner");
    let (source, target, mut client) = (cluster.node(from), cluster.node(1 - from), cluster.client());
    assert_eq!(client.run("BEAR.PUT mail 2 made 1 [1]"), Reply::Int(1));
    let ids: Vec<String> = (0..3).map(|_| client.run("BEAR.ENQUEUE mail SEND {}").text()).collect();
    client.run("BEAR.ENQUEUE mail SEND {} DELAY 3600000");
    let claims = client.run("BEAR.CLAIM mail WORKER w LEASE 600000");
    let token = claims.list()[0].map()["token"].int();
    assert!(client.run("BEAR.LOCK mail nightly 600000").int() > 0);
    let have_target_wait =
        || eventually("it has the keys", || cluster.keys_in(1 - from, slot) == cluster.keys_in(from, slot));
    for is_given_up in [true, false] {
        assert!(source.run("DEBUG SLOTMIGRATION PREVENT-PAUSE 1").is_ok());
        cluster.begin_migration(slot, from, 1 - from);
        have_target_wait();
        // What falls due meanwhile is the source's, and what it writes reaches the target.
        let due = client.run("BEAR.ENQUEUE mail SEND {} DELAY 100 PRIORITY 9").text();
        let mut token = 0;
        eventually("it is due", || {
            let claim = client.run("BEAR.CLAIM mail WORKER w LEASE 600000").list()[0].map();
            token = claim["token"].int();
            let is_due = claim["id"].text() == due;
            if !is_due {
                let released = client.run(&format!("BEAR.RELEASE mail {} {token}", claim["id"].text()));
                assert!(!released.is_error(), "{released:?}");
            }
            is_due
        });
        assert_eq!(client.run(&format!("BEAR.ACK mail {due} {token}")), Reply::Int(1));
        have_target_wait();
        assert!(target.run("BEAR.STATS mail").error().starts_with("MOVED "));
        let written = target.aof().len();
        stays("the target writes nothing by itself", Duration::from_millis(300), || {
            let by_target: Vec<_> = target.aof().into_iter().skip(written).flatten().collect();
            let by_source: Vec<_> = source.aof().into_iter().flatten().collect();
            let own: Vec<_> = by_target.into_iter().filter(|command| !by_source.contains(command)).collect();
            own.is_empty() || panic!("{own:?}")
        });
        if is_given_up {
            assert!(source.run("CLUSTER CANCELSLOTMIGRATIONS").is_ok());
            eventually("the target has nothing", || cluster.keys_in(1 - from, slot).is_empty());
            assert_eq!(client.run("BEAR.GET mail made 1").list()[0].text(), "[1]");
        }
    }
    let mut waiting = source.wire();
    waiting.begin("BEAR.LOCK mail nightly 600000 WAIT 30000");
    source.wait_blocked(1);
    assert!(source.run("DEBUG SLOTMIGRATION PREVENT-PAUSE 0").is_ok());
    let told = waiting.receive();
    assert!(told.is_error() && told.error().starts_with("TRYAGAIN "), "{told:?}");
    eventually("all nodes know", || cluster.owner(slot) == Some(1 - from));
    let began = Instant::now();
    let stats = client.run("BEAR.STATS mail").map();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(["waiting", "active", "delayed"].map(|state| stats[state].int()), [2, 1, 1]);
    // The claim is what it was, and so is the lock; what was cached there is not served here.
    assert!(client.run("BEAR.LOCK mail nightly 600000").is_nil());
    assert_eq!(client.run(&format!("BEAR.ACK mail {} {token}", ids[0])), Reply::Int(1));
    assert!(client.run("BEAR.GET mail WAIT 0 made 1").list()[0].is_nil());
    let rest: Vec<String> =
        client.run("BEAR.CLAIM mail WORKER w COUNT 5").list().iter().map(|claim| claim.map()["id"].text()).collect();
    assert_eq!(rest, ids[1..]);
    eventually("no entry is left of before", || {
        !cluster.keys_in(1 - from, slot).iter().any(|key| key.contains(":made:") || key.contains(":meta:"))
    });
    assert_eq!(cluster.keys_in(from, slot), [""; 0]);
}

#[test]
fn slots_move_as_a_whole_under_load() {
    const SECONDS: u64 = 8;
    let database = slot_load::database();
    let cluster = Cluster::start(2, |_| slot_load::node(&database));
    if !cluster.migrates_slots() {
        return;
    }
    let tenants = vec![1, 2];
    let slots: Vec<u16> = tenants.iter().map(|tenant| cluster.slot(&format!("{{{tenant}}}"))).collect();
    let load = Load::new(database, tenants);
    let (mut moves, mut random) = (0, Random::new(15));
    load.run(&cluster, || {
        let until = Instant::now() + Duration::from_secs(SECONDS);
        while Instant::now() < until {
            let slot = slots[random.below(slots.len())];
            let from = cluster.owner(slot).expect("an owner");
            cluster.migrate_slot(slot, from, 1 - from);
            moves += 1;
        }
    });
    println!("{moves} moves");
    assert!(moves >= 3, "{moves} moves");
}
