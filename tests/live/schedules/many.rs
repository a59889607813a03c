//! Ten thousand schedules cost nothing while none is due, and are listed, loaded and looked at in slices.

use std::time::{Duration, Instant};

use crate::support::{eventually, Redis, Reply, Wire};

const MANY: usize = 10_000;

/// Processor time of the main thread, in ms.
fn used_ms(redis: &Redis) -> f64 {
    let cpu = redis.info("cpu");
    let seconds = |name: &str| cpu.text(name).parse::<f64>().expect("seconds");
    1000.0 * (seconds("used_cpu_user_main_thread") + seconds("used_cpu_sys_main_thread"))
}

/// What an idle server uses in two seconds.
fn idle_ms(redis: &Redis) -> f64 {
    let begun = (used_ms(redis), Instant::now());
    std::thread::sleep(Duration::from_secs(2)); // nothing is waited for: this is what is measured
    (used_ms(redis) - begun.0) * 2.0 / begun.1.elapsed().as_secs_f64()
}

fn make_many(wire: &mut Wire) {
    for chunk in (0..MANY).collect::<Vec<_>>().chunks(500) {
        for at in chunk {
            let name = format!("s{at:05}");
            let (minute, hour) = (at % 60, at / 60 % 24);
            let cron = format!("{minute} {hour} 1 1 *");
            wire.send(&[
                "BEAR.SCHEDULE",
                "mail",
                &name,
                "CRON",
                &cron,
                "ZONE",
                "Europe/Berlin",
                "FROM",
                "4000000000000",
                "JOB",
                "SEND",
                "{}",
            ]);
        }
        for _ in chunk {
            assert!(wire.receive().is_ok());
        }
    }
}

#[test]
fn ten_thousand_idle_schedules_cost_nothing() {
    let catalog = "[mail]\n[mail.job.SEND]\nclaim = {}\n";
    let mut redis = Redis::builder().catalog(catalog).append_only().start();
    let mut wire = redis.wire();
    let none = idle_ms(&redis);
    make_many(&mut wire);
    let known = |redis: &Redis| {
        let info = redis.info("bear");
        info.int("bear_schedules") == MANY as i64 && info.int("bear_schedules_next_ms") > 4_000_000_000_000
    };
    eventually("all are known", || known(&redis));
    let many = idle_ms(&redis);
    println!("idle for two seconds: {none:.1} ms without schedules, {many:.1} ms with {MANY}");
    assert!(many < none + 40.0, "{none} ms without, {many} ms with");
    let listed = wire.run("BEAR.SCHEDULES mail");
    assert_eq!(listed.list().len(), MANY);
    let info = redis.info("bear");
    println!(
        "longest tick {} µs ({} µs on a processor), longest command {} µs",
        info.int("bear_longest_tick_us"),
        info.int("bear_longest_tick_cpu_us"),
        info.int("bear_longest_command_us")
    );
    redis.shutdown();
    let begun = Instant::now();
    redis.start_again();
    eventually("all are known again", || known(&redis));
    let info = redis.info("bear");
    println!(
        "loaded within {:?}; longest tick {} µs on a processor",
        begun.elapsed(),
        info.int("bear_longest_tick_cpu_us")
    );
    assert_eq!(redis.run("HLEN mail:queue:schedules:state"), Reply::Int(MANY as i64));
}
