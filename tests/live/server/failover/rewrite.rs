//! CONFIG REWRITE, as Sentinel sends it to each node whose role it changes: a restart from what it writes has the settings of before.

use std::collections::BTreeMap;

use crate::support::Redis;

/// Stands in the environment, and in no file.
pub const PASSWORD: &str = "hunter2";

/// Of each kind: a number, a switch, a choice, a text of several words.
pub const SETTINGS: [(&str, &str); 4] = [
    ("bear.query-timeout-ms", "4321"),
    ("bear.prepare", "no"),
    ("bear.feed", "off"),
    ("bear.search-path", "public, pg_temp"),
];

/// All settings of the module's.
pub fn settings(redis: &Redis) -> BTreeMap<String, String> {
    let all = redis.wire().run("CONFIG GET bear.*").map();
    all.into_iter().map(|(name, value)| (name, value.text())).collect()
}

#[track_caller]
fn assert_kept(redis: &mut Redis, name: &str, value: &str) {
    let before = settings(redis);
    assert_eq!(before[name], value);
    for _ in 0..2 {
        assert!(redis.run("CONFIG REWRITE").is_ok());
        redis.restart();
        assert_eq!(settings(redis), before, "{}", redis.config_file());
    }
}

#[test]
fn settings_of_the_file_are_kept() {
    let mut redis = Redis::builder().configs(&SETTINGS).start();
    assert_kept(&mut redis, "bear.search-path", "public, pg_temp");
}

#[test]
fn load_arguments_are_kept_and_what_was_set_since_is_stronger() {
    let mut redis = Redis::builder().module_arg("max-fills 500 prepare no feed off").start();
    assert_kept(&mut redis, "bear.max-fills", "500");
    assert!(redis.run("CONFIG SET bear.max-fills 600").is_ok());
    assert_kept(&mut redis, "bear.max-fills", "600");
    // The default, which is written nowhere.
    assert!(redis.run("CONFIG SET bear.prepare yes").is_ok());
    assert_kept(&mut redis, "bear.prepare", "yes");
}

#[test]
fn a_load_argument_of_several_words_is_kept() {
    let mut redis = Redis::builder().module_arg("search-path \"public, pg_temp\"").start();
    assert_kept(&mut redis, "bear.search-path", "public, pg_temp");
}

#[test]
fn an_empty_text_is_kept() {
    let mut redis = Redis::builder().config("bear.search-path", "public").start();
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.search-path", ""]).is_ok());
    assert_kept(&mut redis, "bear.search-path", "");
}

/// So that there is none to be written, in whichever way it was given.
#[test]
fn no_setting_takes_a_password() {
    let redis = Redis::builder().start();
    for name in ["postgres-url", "feed-url"] {
        for url in ["host=h user=bear password=hunter2", "postgres://bear:hunter2@h/db"] {
            let reply = redis.wire().call(&["CONFIG", "SET", &format!("bear.{name}"), url]);
            assert!(reply.error().contains("must not hold a password"), "{name}: {reply:?}");
            // With its quotes, and as they were lost.
            for arg in [format!("{name} \"{url}\""), format!("{name} {url}")] {
                let log =
                    Redis::builder().module_arg(&arg).try_start().err().unwrap_or_else(|| panic!("{arg} was taken"));
                assert!(log.contains("must not hold a password") && !log.contains(PASSWORD), "{arg}:\n{log}");
            }
        }
    }
    assert!(redis.run("CONFIG REWRITE").is_ok());
    assert!(!redis.config_file().contains(PASSWORD));
}
