//! What is said of wrong words, and how options are told from tags and rows.

use super::{assert_hit, start};
use crate::support::Reply;

#[test]
fn wrong_words_are_told_with_what_would_be_right() {
    let redis = start();
    let mut wire = redis.wire();
    for (line, error) in [
        ("BEAR.GET page shelf", "ERR no query of 'page' matches 'shelf'"),
        ("BEAR.GET page shelf x", "ERR category must be"),
        ("BEAR.GET bear all", "ERR 'all' of 'bear' is a query, which Postgres answers; ask for it with BEAR.QUERY"),
        ("BEAR.QUERY page shelf 7", "ERR 'shelf {category:int} [lang {lang:text}]' of 'page' is a value, which the application computes; ask for it with BEAR.GET"),
        ("BEAR.PUT bear 1 all 1", "ERR 'all' of 'bear' is a query, which Postgres answers; nothing can be put there"),
        ("BEAR.GET page LEASE 0 shelf 7", "ERR LEASE must be a number from 1 to 3600000, got '0'"),
        ("BEAR.GET page WAIT x shelf 7", "ERR WAIT must be a number from 0"),
        ("BEAR.GET page LEASE 5 LEASE 6 shelf 7", "ERR LEASE is given twice"),
        ("BEAR.PUT page 3 shelf 7 1", "ERR the value is missing"),
        ("BEAR.PUT page x shelf 7 1", "ERR n, how many words the call has, must be a number from 1"),
        ("BEAR.PUT page 2 shelf 7 1 NX", "ERR 'NX' is no option; there are TOKEN, TTL ms, TAG tag …, ROW section id … and IF ABSENT"),
        ("BEAR.PUT page 2 shelf 7 1 TAG", "ERR a tag is missing"),
        ("BEAR.PUT page 2 shelf 7 1 ROW bear", "ERR a row's id is missing"),
        ("BEAR.PUT page 2 shelf 7 1 ROW bees 1", "ERR no section 'bees', of which rows are named"),
        ("BEAR.PUT page 2 shelf 7 1 ROW bear x", "ERR id must be"),
        ("BEAR.PUT page 2 shelf 7 1 IF PRESENT", "ERR behind IF there is ABSENT"),
        ("BEAR.PUT page 2 shelf 7 1 IF ABSENT TOKEN x", "ERR IF ABSENT and TOKEN exclude each other"),
        ("BEAR.PUT page 2 shelf 7 1 TTL 1 TTL 2", "ERR TTL is given twice"),
        ("BEAR.GET nowhere shelf 7", "ERR no section is called 'nowhere'"),
        ("BEAR.FORGET nowhere x", "ERR no section is called 'nowhere'"),
        ("BEAR.SCHEDULE page s every 1000 QUERY shelf 7", "ERR"),
    ] {
        let reply = wire.run(line);
        let told = reply.error();
        assert!(told.starts_with(error), "{line}: {told}");
    }
    for token in ["x", "0000000000000000-1", "-", "18446744073709551616-1"] {
        assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {token}")), Reply::Int(0), "{token}");
        assert_eq!(wire.run(&format!("BEAR.FORGET page {token}")), Reply::Int(0), "{token}");
    }
}

#[test]
fn tags_and_ids_together_have_a_limit() {
    let redis = start();
    let mut wire = redis.wire();
    let (tag, id) = ("t".repeat(131_060), "123456789012");
    let put =
        |tag: &str| ["BEAR.PUT", "page", "2", "shelf", "7", "1", "TAG", tag, "ROW", "bear", id].map(str::to_owned);
    let refused = wire.call(&put(&format!("{tag}t")));
    assert_eq!(refused.error(), "TOOLARGE the tags and ids of a value may have 131072 bytes together, got 131073");
    assert_eq!(wire.call(&put(&tag)), Reply::Int(1));
    // A token is no reason to look through megabytes.
    let long = format!("0000000000000000-1{}", "0".repeat(1_000_000));
    assert_eq!(wire.call(&["BEAR.FORGET", "page", &long]), Reply::Int(0));
}

#[test]
fn a_word_right_behind_tag_or_row_is_a_tag_or_an_id_whatever_it_is() {
    let redis = start();
    let mut wire = redis.wire();
    let put = "BEAR.PUT page 2 shelf 7 1 TAG a b TAG row TAG TTL ROW bear 1 2 ROW bear 3 TTL 60000 IF ABSENT TAG c";
    assert_eq!(wire.run(put), Reply::Int(1));
    redis.wait_stored();
    let mut names: Vec<String> = redis.keys().into_iter().filter(|key| key != "bear.module:sections").collect();
    names.sort();
    assert_eq!(
        names,
        [
            "bear:meta:1:caches",
            "bear:meta:2:caches",
            "bear:meta:3:caches",
            "page:shelf:7",
            "page:tag:TTL",
            "page:tag:a",
            "page:tag:b",
            "page:tag:c",
            "page:tag:row",
            "page:tag:shelf:7",
        ]
    );
    assert!((1..=60_000).contains(&wire.run("PTTL page:shelf:7").int()));
    assert_hit(&mut wire, "page shelf 007", "1");
}

#[test]
fn the_catalog_shows_values_beside_queries() {
    let redis = start();
    let bear = redis.run("BEAR.CATALOG bear").map();
    assert_eq!((bear["queries"].list().len(), bear["values"].list().len()), (1, 2));
    let page = redis.run("BEAR.CATALOG page").map();
    assert!(page["queries"].list().is_empty());
    let soon = page["values"].list()[1].map();
    assert_eq!((soon["call"].text(), soon["type"].text()), ("soon {n:int}".into(), "json".into()));
    let numbers = ["lease_ms", "ttl_ms", "stale_ms", "refresh_ahead_ms", "jitter_percent"].map(|name| soon[name].int());
    assert_eq!(numbers, [20_000, 300, 3_600_000, 0, 0]);
    let shelf = page["values"].list()[0].map();
    assert_eq!(shelf["on"].map()["bear"].text(), "size = {category}");
    assert_eq!((&shelf["match"], shelf["tags"].sorted_texts()), (&Reply::Nil, vec!["shelf:{category}".to_owned()]));
}
