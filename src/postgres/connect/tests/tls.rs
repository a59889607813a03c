//! Each sslmode against a server with certificates of the test's own.

use std::path::Path;
use std::process::Command;

use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, Tried};

/// A key and a certificate for it: signed by itself, or by the issuer.
fn issue(folder: &Path, name: &str, extension: &str, issuer: Option<&str>) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args([
        "-subj",
        &format!("/CN={name}"),
        "-keyout",
        &format!("{name}.key"),
        "-out",
        &format!("{name}.crt"),
        "-addext",
        extension,
    ]);
    if let Some(issuer) = issuer {
        command.args([
            "-CA",
            &format!("{issuer}.crt"),
            "-CAkey",
            &format!("{issuer}.key"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_mode_verifies_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    issue(path, "ca", "keyUsage=keyCertSign", None);
    issue(path, "other", "keyUsage=keyCertSign", None);
    issue(path, "server", "subjectAltName=DNS:localhost", Some("ca"));
    issue(path, "alone", "subjectAltName=DNS:localhost,IP:127.0.0.1", None);
    issue(path, "certified", "keyUsage=digitalSignature", Some("ca"));
    let server = Server::new();
    server.run("CREATE ROLE certified LOGIN");
    let install = |name: &str| {
        server.put("server.key", &std::fs::read(path.join(format!("{name}.key"))).unwrap());
        server.put("server.crt", &std::fs::read(path.join(format!("{name}.crt"))).unwrap());
        server.put("root.crt", &std::fs::read(path.join("ca.crt")).unwrap());
        server.put("pg_hba.conf", b"local all all trust\nhostssl all certified all cert\nhostssl all bear all trust\n");
        server.run("ALTER SYSTEM SET ssl = on");
        server.run("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
        server.run("SELECT pg_reload_conf()");
    };
    install("server");
    let attempt = |host: &str, user: &str, params: &str| {
        let url = format!(
            "postgres://{user}@{host}:{}/postgres?{}",
            server.port,
            params.replace('@', &format!("{}/", path.display()))
        );
        let tried = Tried::new(&server, |settings| settings.url = url);
        let result = tried.fetch(plan("SELECT ssl AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]), &[]);
        result.map(|fetched| String::from_utf8(fetched.json).unwrap()).map_err(|error| error.to_string())
    };
    // The reload of its configuration takes Postgres a moment.
    eventually("TLS", || attempt("localhost", "bear", "sslmode=require").is_ok());
    let on = Ok("[{\"tls\":true}]".to_owned());
    for (host, params) in [
        ("localhost", "sslmode=prefer"),
        ("localhost", ""),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=@ca.crt"),
        ("127.0.0.1", "sslmode=require&sslrootcert=@ca.crt"),
        ("localhost", "sslmode=verify-full&sslrootcert=@ca.crt"),
        ("localhost", "sslmode=verify-full&sslrootcert=@server.crt"),
    ] {
        assert_eq!(attempt(host, "bear", params), on, "{host} {params}");
    }
    for (host, params, part) in [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=@ca.crt", "not valid for name"),
        ("localhost", "sslmode=verify-ca&sslrootcert=@other.crt", "certificate"),
        ("localhost", "sslmode=require&sslrootcert=@other.crt", "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=@other.crt", "certificate"),
        ("localhost", "sslrootcert=system", "certificate"),
        ("localhost", "sslmode=verify-ca&sslrootcert=@missing.crt", "missing.crt"),
        ("localhost", "sslmode=disable", "no encryption"),
    ] {
        let error = attempt(host, "bear", params).unwrap_err();
        assert!(error.contains(part), "{host} {params}: {error}");
    }
    assert_eq!(attempt("localhost", "certified", "sslmode=require&sslcert=@certified.crt&sslkey=@certified.key"), on);
    assert!(attempt("localhost", "certified", "sslmode=require").is_err());
    // A self-signed certificate as its own root, as Postgres' manual begins.
    install("alone");
    eventually("the other certificate", || {
        attempt("localhost", "bear", "sslmode=verify-full&sslrootcert=@alone.crt") == on
    });
    assert_eq!(attempt("127.0.0.1", "bear", "sslmode=verify-full&sslrootcert=@alone.crt"), on);
    assert!(attempt("localhost", "bear", "sslmode=verify-full&sslrootcert=@ca.crt").is_err());
}
