//! What to connect to and how: a connection string, where its password comes from, timeouts.
//!
//! The password is looked up at each connection, so that it may be rotated in its file; none is kept here but the
//! one that a URL from the environment holds, and `Debug` does not show it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};

use super::tls::{TlsMode, TlsSettings};
use super::url::{default_host, ConnectionString, UrlError};

/// Where a URL was found, which decides whether it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlSource {
    /// redis.conf or CONFIG SET: CONFIG REWRITE writes it to disk, so a password in it is refused.
    Config,
    /// The environment variable BEAR_POSTGRES_URL.
    Environment,
}

/// How sessions are made. A change takes a new pool.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// libpq's URL or keyword form; several hosts are tried in turn.
    pub url: String,
    pub url_source: UrlSource,
    /// Read at each connection; one newline at its end does not count.
    pub password_file: Option<PathBuf>,
    /// As `SET search_path` takes it, e.g. `app, public`; None leaves the role's own.
    pub search_path: Option<String>,
    /// Time for one fetch: statement_timeout and lock_timeout of each session.
    pub query_timeout_ms: u64,
    /// False behind a transaction-mode pooler: no named statement and no setting outlives a transaction.
    pub prepare: bool,
}

impl Settings {
    /// Settings with their defaults: 5 s for a fetch, prepared statements, no password file, the role's search_path.
    pub fn new(url: impl Into<String>, url_source: UrlSource) -> Self {
        Settings {
            url: url.into(),
            url_source,
            password_file: None,
            search_path: None,
            query_timeout_ms: 5000,
            prepare: true,
        }
    }

    /// `host:port`s or paths of sockets, for messages.
    pub fn address(&self) -> String {
        match self.url.parse::<ConnectionString>() {
            Ok(parsed) if check(&parsed).is_ok() => parsed.address(),
            // A piece of a password may stand where a host or a port should.
            _ => "(malformed URL)".to_owned(),
        }
    }

    /// Within what Postgres takes; 0 would mean no limit.
    pub(in crate::postgres) fn statement_timeout_ms(&self) -> u64 {
        self.query_timeout_ms.clamp(1, 1_000_000_000)
    }

    /// A configuration for one connection and its TLS; reads the password file.
    pub(in crate::postgres) fn connection(&self) -> Result<(tokio_postgres::Config, TlsSettings), String> {
        let parsed: ConnectionString = self.url.parse().map_err(|error: UrlError| error.to_string())?;
        if self.url_source == UrlSource::Config && parsed.get("password").is_some() {
            return Err(UrlError::Password.to_string());
        }
        check(&parsed).map_err(|error| error.to_string())?;
        let tls = tls_settings(&parsed).map_err(|error| error.to_string())?;
        let mut config = base_config(&parsed, &tls, self.statement_timeout_ms()).map_err(|error| error.to_string())?;
        if let Some(password) = self.password(&parsed)? {
            config.password(password);
        }
        Ok((config, tls))
    }

    fn password(&self, parsed: &ConnectionString) -> Result<Option<Vec<u8>>, String> {
        use std::os::unix::ffi::OsStringExt;
        if let Some(password) = parsed.get("password") {
            return Ok(Some(password.into()));
        }
        if let Some(password) = std::env::var_os("PGPASSWORD").filter(|password| !password.is_empty()) {
            return Ok(Some(password.into_vec()));
        }
        self.password_file.as_deref().map(read_password_file).transpose()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &mask(&self.url))
            .field("password_file", &self.password_file)
            .field("search_path", &self.search_path)
            .field("query_timeout_ms", &self.query_timeout_ms)
            .field("prepare", &self.prepare)
            .finish_non_exhaustive()
    }
}

fn read_password_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut password =
        std::fs::read(path).map_err(|error| format!("cannot read the password file {}: {error}", path.display()))?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    match password.is_empty() {
        true => Err(format!("the password file {} is empty", path.display())),
        false => Ok(password),
    }
}

/// Accepts a connection string for a place that is written to disk: it must parse and hold no password.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    let parsed: ConnectionString = url.parse()?;
    if parsed.get("password").is_some() {
        return Err(UrlError::Password);
    }
    check(&parsed)
}

/// What a connection string points at, for display: hosts, ports, database and user, nothing else.
pub fn mask(url: &str) -> String {
    match url.parse::<ConnectionString>() {
        Ok(parsed) if check(&parsed).is_ok() => {
            let user = parsed.get("user").map(|user| format!("{user}@")).unwrap_or_default();
            let dbname = parsed.get("dbname").map(|dbname| format!("/{dbname}")).unwrap_or_default();
            format!("postgres://{user}{}{dbname}", parsed.address())
        }
        _ => "(malformed)".to_owned(),
    }
}

/// Checks every value without connecting or reading a file.
fn check(parsed: &ConnectionString) -> Result<(), UrlError> {
    base_config(parsed, &tls_settings(parsed)?, 0).map(drop)
}

fn base_config(
    parsed: &ConnectionString,
    tls: &TlsSettings,
    query_timeout_ms: u64,
) -> Result<tokio_postgres::Config, UrlError> {
    let mut config = tokio_postgres::Config::new();
    add_hosts(&mut config, parsed, tls)?;
    if let Some(user) = parsed.get("user") {
        config.user(user);
    }
    if let Some(dbname) = parsed.get("dbname") {
        config.dbname(dbname);
    }
    if let Some(options) = parsed.get("options") {
        config.options(options);
    }
    config.application_name(parsed.get("application_name").unwrap_or("bear"));
    let seconds = |name, default: u64| Ok::<_, UrlError>(Duration::from_secs(number(parsed, name)?.unwrap_or(default)));
    config.connect_timeout(seconds("connect_timeout", 2)?);
    config.keepalives(number::<u64>(parsed, "keepalives")? != Some(0));
    config.keepalives_idle(seconds("keepalives_idle", 10)?);
    config.keepalives_interval(seconds("keepalives_interval", 3)?);
    config
        .keepalives_retries(number(parsed, "keepalives_count")?.or(number(parsed, "keepalives_retries")?).unwrap_or(3));
    // libpq counts this one in milliseconds.
    config.tcp_user_timeout(Duration::from_millis(
        number(parsed, "tcp_user_timeout")?.unwrap_or(query_timeout_ms + 5000),
    ));
    // A standby that lags would fill stale entries, so no other value is obeyed. The driver's own question would refuse
    // a role that reads only, too; `session` asks each host whether it is in recovery.
    one_of(parsed, "target_session_attrs", "read-write, primary or any (primary is what is used)", |value| {
        matches!(value, "read-write" | "primary" | "any").then_some(())
    })?;
    config.target_session_attrs(TargetSessionAttrs::Any);
    let binding = one_of(parsed, "channel_binding", "disable, prefer or require", |value| match value {
        "disable" => Some(ChannelBinding::Disable),
        "prefer" => Some(ChannelBinding::Prefer),
        "require" => Some(ChannelBinding::Require),
        _ => None,
    })?;
    config.channel_binding(binding.unwrap_or(ChannelBinding::Prefer));
    let balance = one_of(parsed, "load_balance_hosts", "disable or random", |value| match value {
        "disable" => Some(LoadBalanceHosts::Disable),
        "random" => Some(LoadBalanceHosts::Random),
        _ => None,
    })?;
    config.load_balance_hosts(balance.unwrap_or(LoadBalanceHosts::Disable));
    config.ssl_negotiation(match tls.direct {
        true => SslNegotiation::Direct,
        false => SslNegotiation::Postgres,
    });
    Ok(config)
}

fn add_hosts(
    config: &mut tokio_postgres::Config,
    parsed: &ConnectionString,
    tls: &TlsSettings,
) -> Result<(), UrlError> {
    let addresses = parsed.list("hostaddr");
    let mut hosts = parsed.list("host");
    if hosts.is_empty() && addresses.is_empty() {
        hosts.push(default_host());
    }
    let ports = parsed.list("port");
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(UrlError::Value { parameter: "hostaddr", right: "one for each host" });
    }
    // An address alone is its own name for TLS.
    let names = if hosts.is_empty() { &addresses } else { &hosts };
    if ports.len() > 1 && ports.len() != names.len() {
        return Err(UrlError::Value { parameter: "port", right: "one for all hosts or one for each" });
    }
    for name in names {
        // Not shown and not looked up: such a name is a piece of user:password@host more often than a host.
        if name.contains('@') || (name.contains(':') && !name.starts_with('/') && name.parse::<IpAddr>().is_err()) {
            return Err(UrlError::Value {
                parameter: "host",
                right: "a name, an IP address or the folder of a socket",
            });
        }
        config.host(*name);
    }
    for address in &addresses {
        config.hostaddr(
            address.parse::<IpAddr>().map_err(|_| UrlError::Value { parameter: "hostaddr", right: "an IP address" })?,
        );
    }
    for port in ports {
        let port = match port {
            "" => 5432,
            port => port
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(UrlError::Value { parameter: "port", right: "between 1 and 65535" })?,
        };
        config.port(port);
    }
    // As in libpq, TLS is for TCP.
    let only_sockets = names.iter().all(|name| name.starts_with('/'));
    config.ssl_mode(match tls.mode {
        _ if only_sockets => SslMode::Disable,
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
    });
    Ok(())
}

fn tls_settings(parsed: &ConnectionString) -> Result<TlsSettings, UrlError> {
    const MODES: &str = "disable, allow, prefer, require, verify-ca or verify-full";
    let mode = one_of(parsed, "sslmode", MODES, |value| match value {
        "disable" => Some(TlsMode::Disable),
        "allow" | "prefer" => Some(TlsMode::Prefer),
        "require" => Some(TlsMode::Require),
        "verify-ca" => Some(TlsMode::VerifyCa),
        "verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    })?;
    let root_cert = parsed.get("sslrootcert");
    let mode = match (mode, root_cert) {
        (None | Some(TlsMode::VerifyFull), Some("system")) => TlsMode::VerifyFull,
        (Some(_), Some("system")) => {
            return Err(UrlError::Value { parameter: "sslmode", right: "verify-full where sslrootcert is 'system'" })
        }
        (Some(TlsMode::VerifyCa), None) => {
            return Err(UrlError::Value { parameter: "sslrootcert", right: "given where sslmode is verify-ca" })
        }
        (Some(TlsMode::Require), Some(_)) => TlsMode::VerifyCa,
        (mode, _) => mode.unwrap_or(TlsMode::Prefer),
    };
    let client_cert = match (parsed.get("sslcert"), parsed.get("sslkey")) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => return Err(UrlError::Value { parameter: "sslkey", right: "given together with sslcert" }),
        (None, Some(_)) => return Err(UrlError::Value { parameter: "sslcert", right: "given together with sslkey" }),
    };
    let direct = one_of(parsed, "sslnegotiation", "postgres or direct", |value| match value {
        "postgres" => Some(false),
        "direct" => Some(true),
        _ => None,
    })?;
    let direct = direct.unwrap_or(false);
    if direct && matches!(mode, TlsMode::Disable | TlsMode::Prefer) {
        return Err(UrlError::Value {
            parameter: "sslmode",
            right: "require or stricter where sslnegotiation is direct",
        });
    }
    Ok(TlsSettings {
        mode,
        root_cert: root_cert.filter(|path| *path != "system").map(PathBuf::from),
        client_cert,
        direct,
    })
}

fn one_of<T>(
    parsed: &ConnectionString,
    parameter: &'static str,
    right: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, UrlError> {
    parsed.get(parameter).map(|value| read(value).ok_or(UrlError::Value { parameter, right })).transpose()
}

fn number<T: FromStr>(parsed: &ConnectionString, parameter: &'static str) -> Result<Option<T>, UrlError> {
    one_of(parsed, parameter, "a whole number", |value| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, url_source: UrlSource) -> Settings {
        Settings::new(url, url_source)
    }

    #[test]
    fn a_password_is_taken_from_the_environments_url_only() {
        let url = "postgres://u:hunter2@h/db";
        let (config, _) = settings(url, UrlSource::Environment).connection().unwrap();
        assert_eq!(config.get_password(), Some(&b"hunter2"[..]));
        let error = settings(url, UrlSource::Config).connection().unwrap_err();
        assert!(error.contains("CONFIG REWRITE") && !error.contains("hunter2"));
        assert!(!format!("{:?}", settings(url, UrlSource::Environment)).contains("hunter2"));
    }

    #[test]
    fn the_password_file_is_read_at_each_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let settings = Settings { password_file: Some(path.clone()), ..settings("host=h", UrlSource::Config) };
        assert!(settings.connection().unwrap_err().contains("cannot read the password file"));
        for (content, password) in [("one\n", "one"), ("two\r\n", "two"), ("a b ", "a b ")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(settings.connection().unwrap().0.get_password(), Some(password.as_bytes()));
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(settings.connection().unwrap_err().contains("is empty"));
    }

    #[test]
    fn defaults_and_overrides() {
        let (config, tls) = settings("host=h", UrlSource::Config).connection().unwrap();
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(2)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(10));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(10)));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert_eq!(tls.mode, TlsMode::Prefer);
        let (config, _) =
            settings("host=h connect_timeout=7 tcp_user_timeout=1500", UrlSource::Config).connection().unwrap();
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    }

    #[test]
    fn modes_of_tls() {
        for (url, mode, ssl_mode) in [
            ("host=h sslmode=disable", TlsMode::Disable, SslMode::Disable),
            ("host=h sslmode=allow", TlsMode::Prefer, SslMode::Prefer),
            ("host=h sslmode=require", TlsMode::Require, SslMode::Require),
            ("host=h sslmode=require sslrootcert=/ca", TlsMode::VerifyCa, SslMode::Require),
            ("host=h sslmode=verify-ca sslrootcert=/ca", TlsMode::VerifyCa, SslMode::Require),
            ("postgres://h?sslmode=verify-full", TlsMode::VerifyFull, SslMode::Require),
            ("postgres://h?sslrootcert=system", TlsMode::VerifyFull, SslMode::Require),
            ("host=/tmp sslmode=require", TlsMode::Require, SslMode::Disable),
        ] {
            let (config, tls) = settings(url, UrlSource::Config).connection().unwrap();
            assert_eq!((tls.mode, config.get_ssl_mode()), (mode, ssl_mode), "{url}");
        }
        assert!(settings("host=h sslmode=verify-ca", UrlSource::Config).connection().is_err());
        assert!(settings("host=h sslmode=require sslrootcert=system", UrlSource::Config).connection().is_err());
    }

    #[test]
    fn refuses_every_form_of_password_without_showing_it() {
        for url in [
            "postgres://u:hunter2@h/db",
            "postgres://u@h/db?password=hunter2",
            "postgres://u@h/db?pass%77ord=hunter2",
            "host=h password=hunter2",
            "host=h password = 'hunter2'",
            "postgres://u:hunter2@h:bad/db",
        ] {
            let error = check_url(url).unwrap_err();
            assert_eq!(error, UrlError::Password, "{url}");
            assert!(error.to_string().contains("CONFIG REWRITE") && error.to_string().contains("BEAR_POSTGRES_URL"));
        }
        for url in [
            "postgres://u:hun/ter2@h/db",
            "postgresql://u:x@hunter2/y@127.0.0.1:5499/rv",
            "postgresql://u:x@hunter2?y@127.0.0.1:5499/rv",
            "postgresql://u:x@hunter2?user=y@127.0.0.1:5499/rv",
            "postgresql://u:x@hunter2?options=y@127.0.0.1:5499/rv",
            "postgresql://u:5432/hunter2@h/db",
            "host=u:hunter2",
            "host=u:hunter2@h",
            "host=hunter2@h",
            "postgres://u:hun?ter2@h/db",
            "postgres://u:hun?ter2=x@h/db",
            "postgres://u:hunter2%@h/db",
            "postgres://u@h/db?hunter2=1",
            "postgres://u@h/db?sslpassword=hunter2",
            "host=h hunter2",
            "host=h password='hunter2",
            "host=h:hunter2 port=hunter2",
            "hunter2",
        ] {
            let text = format!("{:?} {}", check_url(url).unwrap_err(), check_url(url).unwrap_err());
            assert!(!text.contains("hun") && !text.contains("ter2"), "{url}: {text}");
            assert!(!mask(url).contains("ter2"), "{url}: {}", mask(url));
            // What errors of fetches, the log and INFO show of one from the environment.
            let settings = crate::postgres::Settings::new(url, crate::postgres::UrlSource::Environment);
            let shown = format!("{} {settings:?} {:?}", settings.address(), settings.connection().map(drop));
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{url}: {shown}");
        }
    }

    #[test]
    fn masks() {
        assert_eq!(mask("postgres://u:hunter2@h1,h2:6/db?sslmode=require"), "postgres://u@h1:5432,h2:6/db");
        assert_eq!(mask("host=h password=hunter2 user=u"), "postgres://u@h:5432");
        assert_eq!(mask("nonsense"), "(malformed)");
    }

    #[test]
    fn accepts_good_urls_and_names_bad_values() {
        for url in [
            "postgres://u@h/db",
            "host=/tmp dbname=x",
            "postgres://h?sslmode=verify-ca&sslrootcert=/x",
            "postgres://h?tcp_user_timeout=5000",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for (url, part) in [
            ("postgres://h?sslmode=on", "sslmode"),
            ("postgres://h:70000", "port"),
            ("postgres://h?target_session_attrs=standby", "target_session_attrs"),
            ("postgres://h?service=x", "service"),
            ("postgres://h?sslcert=/x", "sslkey"),
            ("postgres://h1,h2,h3?port=1,2", "port"),
            ("", "empty"),
        ] {
            let error = check_url(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
