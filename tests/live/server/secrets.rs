//! A password reaches Postgres and nothing else: no reply, log, INFO or file ever shows it.

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply};

const PASSWORD: &str = "hunter2!$";
/// The same in a URL.
const ENCODED: &str = "hunter2%21%24";

const QUERY: &str = "BEAR.QUERY bear FRESH size 90 90";

/// A database, a role of it that needs [`PASSWORD`], and its URL; `password` as it stands in the URL, `:` included.
fn database_with_role(password: &str) -> (Database, String, String) {
    let database = bears::database();
    let role = database.role(PASSWORD);
    let url = format!("postgres://{role}{password}@127.0.0.1:{}/{}", database.postgres().port(), database.name());
    (database, role, url)
}

/// Looks everywhere that a client or an operator can look.
#[track_caller]
fn assert_secret_is_nowhere(redis: &Redis) {
    let mut wire = redis.wire();
    for line in ["CONFIG GET *", "INFO everything", "MODULE LIST", "BEAR.CATALOG", "BEAR.CATALOG bear", "CLIENT LIST"] {
        let shown = shown(&wire.run(line));
        assert!(!shown.contains("hunter2"), "{line} shows the password");
    }
    assert!(!redis.log().contains("hunter2"), "the log shows the password:\n{}", redis.log());
    assert!(!redis.config_file().contains("hunter2"), "redis.conf holds the password:\n{}", redis.config_file());
}

/// Every text of a reply.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) | Reply::Error(text) | Reply::Verbatim(text) => text.clone(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().map(shown).collect::<Vec<_>>().join("\n")
        }
        Reply::Map(pairs) => pairs.iter().map(|(name, value)| shown(name) + "\n" + &shown(value)).collect(),
        other => format!("{other:?}"),
    }
}

/// URLs with a password, in every form that libpq knows.
const WITH_PASSWORD: [&str; 8] = [
    "postgres://bear:hunter2@h/db",
    "postgresql://bear:hunter2@h:5433,i:5434/db?sslmode=require",
    "postgres://:hunter2@h/db",
    "postgres://bear@h/db?password=hunter2",
    "postgres://bear@h/db?sslmode=require&pass%77ord=hunter2",
    "host=h user=bear password=hunter2",
    "host=h user=bear password = 'hunter2'",
    "password=hunter2",
];

/// Strings that are no URL, and may hold what somebody took for one.
const MALFORMED: [&str; 5] = [
    "bear:hunter2@h/db",
    "mysql://bear:hunter2@h/db",
    "postgres://bear:hunter2/x@h/db",
    "postgres://bear:hunter2%zz@h/db",
    "host=h pasword=hunter2",
];

#[test]
fn config_set_refuses_a_url_with_a_password() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for url in WITH_PASSWORD {
        let reply = wire.call(&["CONFIG", "SET", "bear.postgres-url", url]);
        for part in ["must not hold a password", "CONFIG REWRITE", "BEAR_POSTGRES_URL", "bear.postgres-password-file"] {
            assert!(reply.error().contains(part), "{url}: {reply:?}");
        }
        assert!(!reply.error().contains("hunter2"), "{reply:?}");
    }
    for url in MALFORMED {
        let reply = wire.call(&["CONFIG", "SET", "bear.postgres-url", url]);
        assert!(reply.is_error() && !reply.error().contains("hunter2"), "{url}: {reply:?}");
    }
    assert_eq!(redis.config("bear.postgres-url"), "");
    assert!(wire.run("CONFIG REWRITE").is_ok());
    assert_secret_is_nowhere(&redis);
}

#[test]
fn redis_conf_refuses_a_url_with_a_password() {
    for url in WITH_PASSWORD.into_iter().chain(MALFORMED) {
        let log = Redis::builder().config("bear.postgres-url", url).try_start().err();
        let log = log.unwrap_or_else(|| panic!("{url} was taken"));
        let reason = if WITH_PASSWORD.contains(&url) { "must not hold a password" } else { "Postgres URL" };
        assert!(log.contains(reason), "{url}: no reason in\n{log}");
        assert!(!log.contains("hunter2"), "{url}:\n{log}");
    }
}

#[test]
fn load_arguments_refuse_a_url_with_a_password() {
    for url in WITH_PASSWORD.into_iter().chain(MALFORMED) {
        let log = Redis::builder().module_arg(format!("postgres-url \"{url}\"")).try_start().err();
        let log = log.unwrap_or_else(|| panic!("{url} was taken"));
        let reason = if WITH_PASSWORD.contains(&url) { "must not hold a password" } else { "Postgres URL" };
        assert!(log.contains(reason), "{url}: no reason in\n{log}");
        assert!(!log.contains("hunter2"), "{url}:\n{log}");
    }
    // A word that is out of place may be a password.
    for args in ["hunter2", "postgres-password hunter2", "bear.db hunter2", "hunter2 x"] {
        let log = Redis::builder().module_arg(args).try_start().err().expect(args);
        assert!(log.contains("load argument"), "{log}");
    }
}

#[test]
fn the_environments_url_may_hold_it() {
    let (database, role, url) = database_with_role(&format!(":{ENCODED}"));
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", &url).start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    let sessions = database.client().query("SELECT FROM pg_stat_activity WHERE usename = $1", &[&role]).unwrap();
    assert!(!sessions.is_empty(), "the sessions are the role's");
    assert_eq!(redis.config("bear.postgres-url"), "");
    let shown = redis.info("bear").text("bear_postgres_url").to_owned();
    assert!(shown.contains(&role) && shown.contains(database.name()), "{shown}");
    assert_secret_is_nowhere(&redis);
}

#[test]
fn it_is_in_no_reply_while_postgres_is_away_or_refuses() {
    let (database, role, url) = database_with_role(&format!(":{ENCODED}"));
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", &url).start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    database.run(&format!("ALTER ROLE {role} NOLOGIN"));
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'test'");
    eventually("nobody may connect", || redis.run(QUERY).is_error());
    let reply = redis.run(QUERY);
    assert!(reply.error().starts_with("POSTGRES "), "{reply:?}");
    assert!(!reply.error().contains("hunter2") && !reply.error().contains("postgres://"), "{reply:?}");
    assert_secret_is_nowhere(&redis);
}

#[test]
fn config_rewrite_and_a_restart_keep_the_connection_and_write_no_password() {
    let (_database, _, url) = database_with_role(&format!(":{ENCODED}"));
    let mut redis = Redis::builder().env("BEAR_POSTGRES_URL", &url).start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert!(redis.run("CONFIG SET bear.query-timeout-ms 4000").is_ok());
    assert!(redis.run("CONFIG REWRITE").is_ok());
    assert!(redis.config_file().contains("bear.query-timeout-ms 4000"), "{}", redis.config_file());
    assert_secret_is_nowhere(&redis);
    redis.restart();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert_secret_is_nowhere(&redis);
}

#[test]
fn pgpassword_is_for_a_url_without_one() {
    let (_database, _, url) = database_with_role("");
    let mut redis = Redis::builder().config("bear.postgres-url", &url).env("PGPASSWORD", PASSWORD).start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert_eq!(redis.config("bear.postgres-url"), url);
    assert!(redis.run("CONFIG REWRITE").is_ok());
    assert_secret_is_nowhere(&redis);
    redis.restart();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert_secret_is_nowhere(&redis);
}

#[test]
fn a_password_file_is_for_a_url_without_one() {
    let (database, _, url) = database_with_role("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let mut redis =
        Redis::builder().config("bear.postgres-url", &url).config("bear.postgres-password-file", file).start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert_eq!(redis.config("bear.postgres-password-file"), file);
    assert!(redis.run("CONFIG REWRITE").is_ok());
    redis.restart();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    assert_eq!(selects(&database), 2);
    assert_secret_is_nowhere(&redis);
}

#[test]
fn a_password_file_may_be_named_while_it_runs() {
    let (_database, _, url) = database_with_role("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let redis = Redis::builder().config("bear.postgres-url", &url).start();
    assert!(redis.run(QUERY).error().starts_with("POSTGRES "));
    assert!(redis.run(&format!("CONFIG SET bear.postgres-password-file {}", file.display())).is_ok());
    eventually("the reason is told", || redis.run(QUERY).error().contains("cannot read the password file"));
    std::fs::write(&file, PASSWORD).unwrap();
    eventually("the file is read at the next attempt", || !redis.run(QUERY).is_error());
    assert_secret_is_nowhere(&redis);
}

#[test]
fn a_rotated_password_is_read_from_its_file() {
    let (database, role, url) = database_with_role("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let redis = Redis::builder()
        .config("bear.postgres-url", &url)
        .config("bear.postgres-password-file", file.to_str().unwrap())
        .start();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    redis.wait_stored();

    // In the order that causes no error: sessions that stand are not asked again.
    let end_sessions = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name <> 'test'";
    database.run(&format!("ALTER ROLE {role} PASSWORD 'hunter2-new'"));
    std::fs::write(&file, "hunter2-new\n").unwrap();
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    database.run(end_sessions);
    eventually("it connects with the new one", || redis.run(QUERY) == Reply::Bulk(bears::json(&[8]).into_bytes()));

    // In the other order it fails for a while, and comes back by itself.
    database.run(&format!("ALTER ROLE {role} PASSWORD 'hunter2-third'"));
    eventually("the old one is refused", || {
        // A session that was being made during the change still had the old one.
        database.run(end_sessions);
        redis.run(QUERY).is_error()
    });
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]), "hits go on");
    std::fs::write(&file, "hunter2-third").unwrap();
    eventually("it connects with the third", || !redis.run(QUERY).is_error());
    assert_secret_is_nowhere(&redis);
}

#[test]
fn a_wrong_password_is_an_error_that_names_neither_it_nor_the_url() {
    let (_database, _, url) = database_with_role("");
    let (_database, _, url_with_one) = database_with_role(":hunter2-wrong");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2-wrong").unwrap();
    for redis in [
        Redis::builder().env("BEAR_POSTGRES_URL", &url_with_one).start(),
        Redis::builder().config("bear.postgres-url", &url).env("PGPASSWORD", "hunter2-wrong").start(),
        Redis::builder()
            .config("bear.postgres-url", &url)
            .config("bear.postgres-password-file", file.to_str().unwrap())
            .start(),
        Redis::builder().config("bear.postgres-url", &url).start(),
    ] {
        let reply = redis.run(QUERY);
        let line = reply.error();
        assert!(line.starts_with("POSTGRES ") && line.contains("password"), "{line}");
        assert!(!line.contains("hunter2") && !line.contains("postgres://"), "{line}");
        eventually("INFO says why", || {
            redis.info("bear").get("bear_postgres_last_error").is_some_and(|error| error.contains("password"))
        });
        assert_secret_is_nowhere(&redis);
    }
}

#[test]
fn a_malformed_url_of_the_environment_is_not_shown() {
    for url in ["hunter2", "postgres://bear:hunter2@h:port/db", "host=h pasword=hunter2"] {
        match Redis::builder().env("BEAR_POSTGRES_URL", url).try_start() {
            Ok(redis) => {
                let reply = redis.run(QUERY);
                assert!(reply.error().starts_with("POSTGRES ") && !reply.error().contains("hunter2"), "{reply:?}");
                assert!(reply.error().contains("Postgres URL"), "it says what is wrong: {reply:?}");
                assert_secret_is_nowhere(&redis);
            }
            Err(log) => assert!(log.contains("Postgres URL") && !log.contains("hunter2"), "{log}"),
        }
    }
}
