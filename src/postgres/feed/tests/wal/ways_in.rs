//! The feed's own replication connection takes every way in that the driver's connections take.

use super::*;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT id FROM t\"\n";

fn works(database: &Database, settings: FeedSettings) {
    let what = format!("{:?}", settings.settings);
    let followed = Followed::start(settings, CATALOG);
    assert_eq!(followed.connected(), ["t: covered"], "{what}");
    database.run("TRUNCATE t; INSERT INTO t VALUES (1)");
    assert_eq!(followed.changes(), ["t: all"], "{what}");
}

#[test]
fn sockets_several_hosts_tls_and_passwords() {
    let server = Arc::new(server_for(FeedKind::Wal));
    let database = Database::on(FeedKind::Wal, server.clone(), "CREATE TABLE t (id int PRIMARY KEY)");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    server.put("server.key", made.signing_key.serialize_pem().as_bytes());
    let certificate = server.put("server.crt", made.cert.pem().as_bytes());
    server.put(
        "pg_hba.conf",
        b"local all all trust\nhost all bear all trust\nhostssl all scrambled all scram-sha-256\n\
          host all hashed all md5\nhost all plain all password\n",
    );
    server.run(
        "CREATE ROLE scrambled LOGIN SUPERUSER PASSWORD 'p w'; SET password_encryption = md5; \
        CREATE ROLE hashed LOGIN SUPERUSER PASSWORD 'p w'; CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'p w'",
    );
    server.run("ALTER SYSTEM SET ssl = on");
    server.stop("INT");
    server.start();
    let port = server.port;
    let name = &database.name;
    let root = certificate.display();
    for url in [
        server.socket_url().replace("dbname=postgres", &format!("dbname={name}")),
        format!("postgres://bear@127.0.0.1:1,127.0.0.1:{port}/{name}"),
        format!("host=nowhere hostaddr=127.0.0.1 port={port} user=bear dbname={name} sslmode=disable"),
        format!("postgres://bear@localhost:{port}/{name}?sslmode=verify-full&sslrootcert={root}"),
        format!("postgres://scrambled:p%20w@localhost:{port}/{name}?sslmode=require"),
        format!("postgres://scrambled:p%20w@127.0.0.1:{port}/{name}"),
        format!("postgres://hashed:p%20w@127.0.0.1:{port}/{name}"),
        format!("postgres://plain:p%20w@127.0.0.1:{port}/{name}?sslmode=disable"),
        format!("postgres://bear@127.0.0.1:{port}/{name}?options=-c%20DateStyle%3DGerman"),
    ] {
        works(
            &database,
            FeedSettings { settings: Settings::new(url, UrlSource::Environment), ..settings(FeedKind::Wal, "") },
        );
    }
    let binding = format!("postgres://scrambled:p%20w@localhost:{port}/{name}?sslmode=require&channel_binding=require");
    let followed = Followed::start(
        FeedSettings { settings: Settings::new(binding, UrlSource::Environment), ..settings(FeedKind::Wal, "") },
        CATALOG,
    );
    assert!(followed.down().contains("channel_binding=require"));
}
