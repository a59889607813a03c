//! TLS to Postgres, as libpq's `sslmode` means it: what is encrypted, whom it trusts, and what it says when it does not.

use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::bears;
use crate::support::{eventually, Database, Postgres, Redis};

const QUERY: &str = "BEAR.QUERY bear FRESH size 90 90";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key in PEM.
struct Pair {
    certificate: String,
    key: String,
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "certified");
    params
}

fn issue(params: CertificateParams, issuer: &Authority) -> Pair {
    let key = KeyPair::generate().unwrap();
    Pair { certificate: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}

/// A Postgres that offers TLS, and a folder for files of certificates.
struct Server {
    postgres: Postgres,
    database: Database,
    folder: TempDir,
}

impl Server {
    fn start(pair: &Pair) -> Server {
        let postgres = Postgres::start();
        let database = bears::database_in(&postgres);
        let server = Server { postgres, database, folder: tempfile::tempdir().unwrap() };
        server.present(pair);
        server
    }

    /// Has the server show this certificate from now on.
    fn present(&self, pair: &Pair) {
        self.write_own("server.crt", &pair.certificate);
        self.write_own("server.key", &pair.key);
        let mut client = self.database.client();
        for setting in ["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'"] {
            client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
        }
        self.reload();
        eventually("the server offers TLS", || {
            self.database.client().query_one("SHOW ssl", &[]).unwrap().get::<_, &str>(0) == "on"
        });
    }

    /// Has the server read its files again, and waits until it has.
    fn reload(&self) {
        let loaded =
            || -> String { self.database.client().query_one("SELECT pg_conf_load_time()::text", &[]).unwrap().get(0) };
        let before = loaded();
        self.database.run("SELECT pg_reload_conf()");
        eventually("the configuration is loaded", || loaded() != before);
    }

    /// A file that the server takes for its own.
    fn write_own(&self, name: &str, text: &str) {
        let folder = self.postgres.socket_folder();
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let owner = folder.metadata().unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// A file for the module.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The server's URL under the name `host`, whatever that resolves to.
    fn url(&self, host: &str, rest: &str) -> String {
        let (port, name) = (self.postgres.port(), self.database.name());
        format!("host={host} hostaddr=127.0.0.1 port={port} user=postgres dbname={name} {rest}")
    }

    fn redis(&self, host: &str, rest: &str) -> Redis {
        Redis::builder().config("bear.postgres-url", self.url(host, rest)).start()
    }

    /// The TLS version of the module's sessions, None where there is none.
    fn version(&self) -> Option<String> {
        let sql = "SELECT s.version FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                   WHERE a.application_name = 'bear' AND a.datname = current_database()";
        self.database.client().query(sql, &[]).unwrap().first().expect("a session").get(0)
    }

    #[track_caller]
    fn assert_connects(&self, host: &str, rest: &str) {
        let redis = self.redis(host, rest);
        assert_eq!(redis.run(QUERY).text(), bears::json(&[8]), "{host} {rest}");
        assert!(self.version().is_some_and(|version| version.starts_with("TLSv1.")), "{host} {rest}");
    }

    /// The error must say each part of the reason.
    #[track_caller]
    fn assert_refuses(&self, host: &str, rest: &str, reason: &[&str]) {
        let redis = self.redis(host, rest);
        let reply = redis.run(QUERY);
        let line = reply.error();
        assert!(line.starts_with("POSTGRES "), "{host} {rest}: {line}");
        for part in reason {
            assert!(line.to_lowercase().contains(&part.to_lowercase()), "{host} {rest}: {line:?} lacks {part:?}");
        }
        assert_eq!(redis.info("bear").text("bear_postgres_state"), "down");
    }
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

#[test]
fn require_encrypts_and_trusts_anybody() {
    let server = Server::start(&issue(params(&["db.example"]), &authority("root")));
    server.assert_connects("elsewhere.example", "sslmode=require");
    server.assert_connects("elsewhere.example", "sslmode=prefer");
    server.assert_connects("elsewhere.example", "");
    assert_eq!(server.redis("db.example", "sslmode=disable").run(QUERY).text(), bears::json(&[8]));
}

#[test]
fn disable_and_prefer_without_an_offer_do_not_encrypt() {
    let server = Server::start(&issue(params(&["db.example"]), &authority("root")));
    let plain = server.redis("db.example", "sslmode=disable");
    assert_eq!(plain.run(QUERY).text(), bears::json(&[8]));
    assert_eq!(server.version(), None);
    drop(plain);
    server.database.run("ALTER SYSTEM SET ssl = off");
    server.reload();
    let preferred = server.redis("db.example", "sslmode=prefer");
    assert_eq!(preferred.run(QUERY).text(), bears::json(&[8]));
    eventually("the other sessions are gone", || server.version().is_none());
    drop(preferred);
    let ca = server.file("ca.pem", &authority("root").pem());
    for mode in ["sslmode=require".to_owned(), format!("sslmode=verify-full {}", root(&ca))] {
        server.assert_refuses("db.example", &mode, &["does not support TLS"]);
    }
}

#[test]
fn verify_ca_trusts_whom_the_root_has_signed_under_any_name() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server = Server::start(&issue(params(&["db.example"]), &ours));
    let right = root(&server.file("ours.pem", &ours.pem()));
    let wrong = root(&server.file("theirs.pem", &theirs.pem()));
    let both = root(&server.file("both.pem", &(theirs.pem() + &ours.pem())));
    for host in ["db.example", "elsewhere.example", "127.0.0.1"] {
        server.assert_connects(host, &format!("sslmode=verify-ca {right}"));
        server.assert_connects(host, &format!("sslmode=verify-ca {both}"));
        // libpq too reads a root where one is given, whatever `require` says.
        server.assert_connects(host, &format!("sslmode=require {right}"));
        for mode in ["verify-ca", "require", "verify-full"] {
            server.assert_refuses(host, &format!("sslmode={mode} {wrong}"), &["certificate"]);
        }
    }
}

#[test]
fn verify_full_wants_the_hosts_name_too() {
    let ca = authority("ours");
    let server = Server::start(&issue(params(&["db.example", "*.db.example", "127.0.0.1"]), &ca));
    let full = format!("sslmode=verify-full {}", root(&server.file("ca.pem", &ca.pem())));
    for host in ["db.example", "DB.example", "one.db.example", "127.0.0.1"] {
        server.assert_connects(host, &full);
    }
    for host in ["elsewhere.example", "a.b.db.example", "localhost", "127.0.0.2"] {
        server.assert_refuses(host, &full, &["certificate", "name"]);
    }
    // The operating system's roots do not know ours.
    server.assert_refuses("db.example", "sslmode=verify-full", &["certificate"]);
    server.assert_refuses("db.example", "sslrootcert=system", &["certificate"]);
}

#[test]
fn a_name_that_is_only_the_common_name_does_not_count() {
    let ca = authority("ours");
    let mut only_cn = params(&[]);
    only_cn.distinguished_name.push(DnType::CommonName, "db.example");
    let server = Server::start(&issue(only_cn, &ca));
    let ca = root(&server.file("ca.pem", &ca.pem()));
    server.assert_connects("db.example", &format!("sslmode=verify-ca {ca}"));
    server.assert_refuses("db.example", &format!("sslmode=verify-full {ca}"), &["certificate"]);
}

#[test]
fn an_expired_certificate_is_refused_where_anything_is_verified() {
    let ca = authority("ours");
    let mut expired = params(&["db.example"]);
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let server = Server::start(&issue(expired, &ca));
    let ca = root(&server.file("ca.pem", &ca.pem()));
    server.assert_connects("db.example", "sslmode=require");
    for mode in ["verify-ca", "verify-full"] {
        server.assert_refuses("db.example", &format!("sslmode={mode} {ca}"), &["certificate", "expired"]);
    }
}

#[test]
fn a_self_signed_certificate_may_be_its_own_root() {
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["db.example"]).self_signed(&key).unwrap().pem();
    let server = Server::start(&Pair { certificate: certificate.clone(), key: key.serialize_pem() });
    let own = root(&server.file("own.pem", &certificate));
    server.assert_connects("elsewhere.example", &format!("sslmode=verify-ca {own}"));
    server.assert_connects("db.example", &format!("sslmode=verify-full {own}"));
    server.assert_refuses("elsewhere.example", &format!("sslmode=verify-full {own}"), &["certificate", "name"]);
    let other = params(&["db.example"]).self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let other = root(&server.file("other.pem", &other));
    server.assert_refuses("db.example", &format!("sslmode=verify-full {other}"), &["certificate"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let server = Server::start(&issue(params(&["db.example"]), &authority("root")));
    let missing = server.folder.path().join("missing.pem");
    let empty = server.file("empty.pem", "no certificate\n");
    for path in [&missing, &empty] {
        let parts = ["cannot read the certificate", path.to_str().unwrap()];
        server.assert_refuses("db.example", &format!("sslmode=verify-full {}", root(path)), &parts);
    }
    let pair = format!("sslmode=require sslcert={} sslkey={}", missing.display(), missing.display());
    server.assert_refuses("db.example", &pair, &["cannot read the", missing.to_str().unwrap()]);
}

#[test]
fn roots_are_read_again_at_each_connect() {
    let (old, new) = (authority("old"), authority("new"));
    let server = Server::start(&issue(params(&["db.example"]), &old));
    let ca = server.file("ca.pem", &old.pem());
    let redis = server.redis("db.example", &format!("sslmode=verify-full {}", root(&ca)));
    assert_eq!(redis.run(QUERY).text(), bears::json(&[8]));
    server.present(&issue(params(&["db.example"]), &new));
    let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bear'";
    eventually("the new certificate is not trusted", || {
        server.database.run(end_sessions);
        redis.run(QUERY).is_error()
    });
    std::fs::write(&ca, new.pem()).unwrap();
    eventually("it is, once its root is in the file", || !redis.run(QUERY).is_error());
}

#[test]
fn a_client_certificate_proves_who_connects() {
    let ca = authority("ours");
    let server = Server::start(&issue(params(&["db.example"]), &ca));
    server.write_own("root.crt", &ca.pem());
    let rules = server.postgres.socket_folder().join("pg_hba.conf");
    let others = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("hostssl all certified 127.0.0.1/32 cert\n{others}")).unwrap();
    server.database.run("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    server.database.run("CREATE ROLE certified LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO certified");
    server.reload();

    let client_pair = |issuer: &Authority, name: &str| {
        let mut params = params(&[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let pair = issue(params, issuer);
        let (cert, key) =
            (server.file(&format!("{name}.crt"), &pair.certificate), server.file(&format!("{name}.key"), &pair.key));
        format!("sslcert={} sslkey={}", cert.display(), key.display())
    };
    let url = |rest: &str| server.url("db.example", rest).replace("user=postgres", "user=certified");
    let good = Redis::builder()
        .config("bear.postgres-url", url(&format!("sslmode=require {}", client_pair(&ca, "good"))))
        .start();
    assert_eq!(good.run(QUERY).text(), bears::json(&[8]));
    assert!(server.version().is_some());
    for rest in ["sslmode=require".to_owned(), format!("sslmode=require {}", client_pair(&authority("theirs"), "bad"))]
    {
        let redis = Redis::builder().config("bear.postgres-url", url(&rest)).start();
        let reply = redis.run(QUERY);
        assert!(reply.error().starts_with("POSTGRES "), "{rest}: {reply:?}");
    }
}
