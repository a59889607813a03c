//! Who gets events: subscribers of RESP2 and RESP3, of patterns and shards, on replicas, in a cluster, and by which right.

use super::jobs::CATALOG;
use super::listener::Listener;
use crate::support::process::free_port;
use crate::support::{bears, claims, eventually, Command, Redis};

const ENQUEUE: &str = r#"mail SEND {"to":"ann"}"#;

#[test]
fn every_kind_of_subscriber_gets_the_same_text() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let subscribing = [
        ("message", "SUBSCRIBE bear:events:mail"),
        ("pmessage", "PSUBSCRIBE bear:events:*"),
        ("smessage", "SSUBSCRIBE bear:events:mail"),
    ];
    let mut listeners: Vec<(&str, Listener)> = subscribing
        .into_iter()
        .flat_map(|(kind, words)| [redis.wire(), redis.resp3_wire()].map(|wire| (kind, Listener::new(wire, words))))
        .collect();
    let mut other = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    for _ in 0..3 {
        claims::enqueue(&mut wire, ENQUEUE);
    }
    claims::claim(&mut wire, "mail COUNT 3");
    let texts: Vec<Vec<String>> = listeners
        .iter_mut()
        .map(|(kind, told)| {
            let messages: Vec<_> = (0..6).map(|_| told.next_message()).collect();
            assert!(messages.iter().all(|of| of.kind == *kind && of.channel == "bear:events:mail"), "{messages:?}");
            told.assert_no_more();
            messages.into_iter().map(|of| of.text).collect()
        })
        .collect();
    assert!(texts.iter().all(|of| *of == texts[0]), "{texts:?}");
    other.assert_no_more();
}

#[test]
fn a_client_of_resp3_hears_of_what_it_does_itself() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.resp3_wire();
    wire.run("SUBSCRIBE bear:events:mail");
    wire.begin(&format!("BEAR.ENQUEUE {ENQUEUE}"));
    wire.begin("BEAR.CLAIM mail");
    // Before the reply or behind it, and never within: servers differ.
    let replies: Vec<crate::support::Reply> = (0..4).map(|_| wire.receive()).collect();
    let pushed = replies.iter().filter(|reply| matches!(reply, crate::support::Reply::Push(_))).count();
    assert_eq!(pushed, 2, "{replies:?}");
}

#[test]
fn tenants_have_channels_of_their_own() {
    let catalog = "[mail]\ntenant = \"int\"\nopen = true\nevents = true\n";
    let redis = Redis::builder().catalog(catalog).start();
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:{7}:mail");
    let mut all = Listener::new(redis.wire(), "PSUBSCRIBE bear:events:*:mail");
    for tenant in [7, 8] {
        claims::enqueue(&mut wire, &format!("{{{tenant}}}:mail SEND 1"));
    }
    claims::claim(&mut wire, "mail COUNT 2");
    for event in ["enqueued", "claimed"] {
        let next = told.next();
        assert_eq!((&next["event"], &next["space"]), (&event.into(), &"{7}:mail".into()));
    }
    told.assert_no_more();
    assert_eq!(all.names(4), ["enqueued", "enqueued", "claimed", "claimed"]);
}

#[test]
fn who_may_read_the_channels_may_subscribe() {
    let acl = "user default on nopass ~* &* +@all\nuser listener on >secret resetchannels &bear:events:* -@all +subscribe +psubscribe +ssubscribe +hello +auth\n";
    let redis = Redis::builder().catalog(CATALOG).acl_file(acl).start();
    let mut listener = redis.wire();
    assert!(listener.run("AUTH listener secret").is_ok());
    assert!(listener.run("SUBSCRIBE other").error().starts_with("NOPERM "));
    assert!(listener.run("PSUBSCRIBE *").error().starts_with("NOPERM "));
    let mut told = Listener::new(listener, "SUBSCRIBE bear:events:mail");
    // Nor does who enqueues need any right to a channel.
    assert!(redis.run("ACL SETUSER app on >secret resetchannels ~mail* -@all +bear.enqueue").is_ok());
    let mut app = redis.wire();
    assert!(app.run("AUTH app secret").is_ok());
    claims::enqueue(&mut app, ENQUEUE);
    assert_eq!(told.next()["event"], "enqueued");
}

#[test]
fn replicas_subscribers_hear_the_same_and_the_aof_has_nothing_of_it() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let replica = Redis::builder().catalog(CATALOG).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    let mut wire = redis.wire();
    let mut listeners = ["SUBSCRIBE bear:events:mail", "SSUBSCRIBE bear:events:mail"]
        .map(|words| [Listener::new(redis.wire(), words), Listener::new(replica.wire(), words)]);
    claims::enqueue(&mut wire, ENQUEUE);
    let job = claims::claim_one(&mut wire, "mail WORKER w");
    claims::tell(&mut wire, "ACK", &job, "RESULT 1");
    for [on_master, on_replica] in &mut listeners {
        for event in ["enqueued", "claimed", "completed"] {
            let message = on_master.next_message();
            assert!(message.text.starts_with(&format!(r#"{{"event":"{event}""#)), "{message:?}");
            assert_eq!(on_replica.next_message(), message);
        }
        on_master.assert_no_more();
        on_replica.assert_no_more();
    }
    let names: Vec<String> = redis.aof().iter().flatten().map(Command::name).collect();
    assert!(!names.is_empty() && names.iter().all(|name| !name.contains("PUBLISH")), "{names:?}");
    // A replica that was promoted tells of what it does itself.
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    claims::enqueue(&mut replica.wire(), ENQUEUE);
    assert_eq!(listeners[0][1].names(1), ["enqueued"]);
    listeners[0][0].assert_no_more();
    redis.restart();
    assert_eq!(redis.run("BEAR.STATS mail").map()["completed"].int(), 1);
}

#[test]
fn in_a_cluster_the_channel_is_of_the_slot_of_the_keys() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(CATALOG)
        .config("cluster-enabled", "yes")
        .config("cluster-port", free_port())
        .start();
    assert!(redis.run("CLUSTER ADDSLOTSRANGE 0 16383").is_ok());
    eventually("the cluster is ready", || redis.run("CLUSTER INFO").text().contains("cluster_state:ok"));
    let slot = |key: &str| redis.run(&format!("CLUSTER KEYSLOT {key}")).int();
    assert_eq!(slot("bear:events:{mail}"), slot("{mail}:queue:work"));
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SSUBSCRIBE bear:events:{mail}");
    let mut plain = Listener::new(redis.wire(), "PSUBSCRIBE bear:events:*");
    claims::enqueue(&mut wire, ENQUEUE);
    let job = claims::claim_one(&mut wire, "mail");
    assert_eq!(wire.run(&format!("BEAR.CANCEL mail {}", job.id)).text(), "active");
    for event in ["enqueued", "claimed", "cancelled"] {
        let message = told.next_message();
        assert_eq!((&message.kind[..], &message.channel[..]), ("smessage", "bear:events:{mail}"));
        assert!(message.text.starts_with(&format!(r#"{{"event":"{event}","space":"mail""#)), "{message:?}");
    }
    told.assert_no_more();
    // All nodes hear of what workers must hear.
    let message = plain.next_message();
    assert_eq!(message.channel, "bear:events:mail");
    assert!(message.text.starts_with(r#"{"event":"cancelled""#), "{message:?}");
    plain.assert_no_more();
    let mut told = Listener::new(redis.wire(), "SSUBSCRIBE bear:events:{bear}");
    wire.run("BEAR.QUERY bear all");
    assert_eq!(told.next()["key"], "{bear}:all");
    wire.run("BEAR.INVALIDATE bear ROW 5");
    let gone = told.next();
    assert_eq!((&gone["why"], &gone["keys"]), (&"row".into(), &serde_json::json!(["{bear}:all"])));
}
