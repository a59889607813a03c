//! The listener: where it listens and when, and what it survives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::listening;
use crate::support::http::{self, scrape, try_get};
use crate::support::process::free_port;
use crate::support::{bears, eventually, Redis};

fn has_thread(redis: &Redis) -> bool {
    redis.threads().iter().any(|name| name == "bear-metrics")
}

#[test]
fn it_listens_where_it_is_told_and_nowhere_by_default() {
    let redis = Redis::builder().start();
    assert_eq!(redis.info("bear").text("bear_metrics_state"), "off");
    assert!(!has_thread(&redis));
    let mut wire = redis.wire();
    let (first, second) = (free_port(), free_port());
    for port in [first, second] {
        assert!(wire.run(&format!("CONFIG SET bear.metrics-listen 127.0.0.1:{port}")).is_ok());
        assert_eq!(scrape(port).of("bear_metrics_state{state=\"listening\"}"), 1.0);
    }
    assert!(try_get(first, "/metrics", "").is_none(), "it has left the first address");
    assert_eq!(redis.info("bear").text("bear_metrics_state"), "listening");
    assert!(wire.call(&["CONFIG", "SET", "bear.metrics-listen", ""]).is_ok());
    assert!(try_get(second, "/metrics", "").is_none());
    assert_eq!(redis.info("bear").text("bear_metrics_state"), "off");
    eventually("its thread ends", || !has_thread(&redis));
    assert_eq!(redis.info("bear").int("bear_metrics_scrapes"), 2);
}

#[test]
fn the_same_port_of_more_addresses_can_be_had() {
    let (builder, port) = listening(Redis::builder());
    let redis = builder.start();
    let mut wire = redis.wire();
    assert!(wire.run(&format!("CONFIG SET bear.metrics-listen 0.0.0.0:{port}")).is_ok());
    assert_eq!(http::get(port, "/metrics").status, 200);
    assert!(wire.run(&format!("CONFIG SET bear.metrics-listen [::1]:{port}")).is_ok());
    assert!(try_get(port, "/metrics", "").is_none());
}

#[test]
fn an_address_that_cannot_be_had_is_refused_and_nothing_changes() {
    let (builder, port) = listening(Redis::builder());
    let redis = builder.start();
    let others = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = others.local_addr().expect("an address");
    let mut wire = redis.wire();
    let reply = wire.run(&format!("CONFIG SET bear.metrics-listen {taken}"));
    assert!(reply.error().contains(&format!("cannot listen on {taken}")), "{reply:?}");
    // Nor one that this machine does not have; the documentation's own.
    let reply = wire.run("CONFIG SET bear.metrics-listen 192.0.2.1:9121");
    assert!(reply.error().contains("cannot listen on 192.0.2.1:9121"), "{reply:?}");
    assert_eq!(redis.config("bear.metrics-listen"), format!("127.0.0.1:{port}"));
    assert_eq!(http::get(port, "/metrics").status, 200);
}

#[test]
fn at_load_it_is_tried_again_until_the_address_is_free() {
    let others = TcpListener::bind(("127.0.0.1", free_port())).expect("a port");
    let address = others.local_addr().expect("an address");
    let redis = Redis::builder().config("bear.metrics-listen", address).start();
    let info = redis.info("bear");
    assert_eq!(info.text("bear_metrics_state"), "failed");
    assert!(info.text("bear_metrics_last_error").contains("Address already in use"));
    drop(others);
    eventually("it listens", || try_get(address.port(), "/healthz", "").is_some());
    let info = redis.info("bear");
    assert_eq!((info.text("bear_metrics_state"), info.get("bear_metrics_last_error")), ("listening", None));
    assert_eq!(redis.log().matches("cannot listen on").count(), 1, "it is told once");
}

#[test]
fn both_formats_are_spoken() {
    let (builder, port) = listening(Redis::builder());
    let _redis = builder.start();
    let plain = http::get(port, "/metrics");
    assert_eq!(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(plain.body.contains("# TYPE bear_hits_total counter\n") && !plain.body.contains("# EOF"));
    let open = try_get(port, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n")
        .expect("an answer");
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.contains("# TYPE bear_hits counter\n") && open.body.ends_with("\n# EOF\n"));
    assert_eq!(http::get(port, "/nothing").status, 404);
}

#[test]
fn hostile_clients_hold_nobody() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database));
    let redis = builder.start();
    let mut streams: Vec<TcpStream> = Vec::new();
    for round in 0..40_u8 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        // Some say nothing, some a part, some more than they may, some what is no HTTP; nobody reads.
        let words: &[u8] = match round % 4 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            2 => &[b'x'; 100_000],
            _ => b"\x16\x03\x01\x00\xff\xfe\r\n\r\n",
        };
        let _ = stream.write_all(words);
        streams.push(stream);
    }
    let mut wire = redis.wire();
    for _ in 0..100 {
        assert_eq!(wire.run("PING").text(), "PONG");
    }
    assert!(!wire.run("BEAR.QUERY bear size 100 200").is_error());
    // The silent ones are let go after a while, and an honest scraper comes through.
    eventually("there is a place again", || try_get(port, "/metrics", "").is_some_and(|answer| answer.status == 200));
    for mut stream in streams {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
    }
    assert!(scrape(port).of("bear_metrics_refused_total") >= 24.0);
}

#[test]
fn it_ends_with_an_unload_and_comes_with_a_load() {
    let (builder, port) = listening(Redis::builder());
    let redis = builder.start();
    // Somebody is connected, and says nothing.
    let silent = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    assert_eq!(http::get(port, "/metrics").status, 200);
    eventually("the module is unloaded", || redis.run("MODULE UNLOAD bear").is_ok());
    assert!(try_get(port, "/metrics", "").is_none());
    assert!(!has_thread(&redis));
    drop(silent);
    let path = crate::support::server::module_path().to_string_lossy().into_owned();
    let address = format!("127.0.0.1:{port}");
    let mut wire = redis.wire();
    assert!(wire.call(&["MODULE", "LOAD", &path, "metrics-listen", &address]).is_ok());
    assert_eq!(scrape(port).of("bear_metrics_scrapes_total"), 0.0);
}

#[test]
fn it_is_there_again_after_a_restart() {
    let (builder, port) = listening(Redis::builder());
    let mut redis = builder.start();
    assert_eq!(http::get(port, "/metrics").status, 200);
    redis.restart();
    assert_eq!(http::get(port, "/metrics").status, 200);
    redis.kill9();
    redis.start_again();
    eventually("it listens", || try_get(port, "/metrics", "").is_some());
}

#[test]
fn a_child_that_saves_keeps_neither_the_port_nor_a_client() {
    let (builder, port) = listening(Redis::builder());
    let redis = builder.start();
    let mut wire = redis.wire();
    for key in 0..200 {
        assert!(wire.call(&["SET", &format!("key:{key}"), "x"]).is_ok());
    }
    // The child rests after each key, as long as the dataset would take.
    assert!(wire.run("CONFIG SET rdb-key-save-delay 100000").is_ok());
    // This one is connected when the child is born, and has a copy of its socket.
    let mut silent = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    silent.write_all(b"GET /metrics HTTP/1.1\r\n").expect("a part");
    assert_eq!(http::get(port, "/metrics").status, 200);
    assert!(!wire.run("BGSAVE").is_error());
    eventually("a child saves", || redis.info("persistence").int("rdb_bgsave_in_progress") == 1);
    assert_eq!(http::get(port, "/metrics").status, 200);
    let second = free_port();
    assert!(wire.run(&format!("CONFIG SET bear.metrics-listen 127.0.0.1:{second}")).is_ok());
    silent.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    assert_eq!(silent.read(&mut [0; 1000]).expect("it is told, and does not wait"), 0);
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "the first port is free");
    assert!(wire.run(&format!("CONFIG SET bear.metrics-listen 127.0.0.1:{port}")).is_ok());
    assert_eq!(http::get(port, "/metrics").status, 200);
    assert_eq!(redis.info("persistence").int("rdb_bgsave_in_progress"), 1, "all this while the child saved");
    assert!(wire.run("CONFIG SET rdb-key-save-delay 0").is_ok());
    wire.run("SHUTDOWN NOSAVE ABORT");
    let child = redis.info("persistence").int("rdb_bgsave_in_progress");
    if child == 1 {
        // FLUSHALL ends the child.
        assert!(wire.run("FLUSHALL").is_ok());
    }
}
