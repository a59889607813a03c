//! Connection strings of libpq, URL or keyword form, taken apart.
//!
//! Invariant: no error and no masked form ever contains a part of a password, not even where a string is malformed;
//! so an error names a parameter only if libpq knows it.

use std::path::Path;
use std::str::FromStr;

/// Refused because `CONFIG REWRITE` would write the password to redis.conf.
const PASSWORD_REASON: &str =
    "CONFIG REWRITE would write it to redis.conf; give the URL with its password in the environment \
    variable BEAR_POSTGRES_URL, the password alone in PGPASSWORD, or a file in bear.postgres-password-file";

/// Parameters of libpq that are used.
const KNOWN: &[&str] = &[
    "user",
    "password",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "application_name",
    "options",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
];

/// Parameters of libpq that change nothing here.
const WITHOUT_EFFECT: &[&str] =
    &["fallback_application_name", "client_encoding", "gssencmode", "sslcompression", "sslsni", "connect_retry"];

/// Parameters of libpq that would have to be obeyed and are not.
const UNSUPPORTED: &[&str] = &[
    "passfile",
    "require_auth",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "sslcertmode",
    "requirepeer",
    "requiressl",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "service",
    "servicefile",
    "replication",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
];

/// Why a connection string is refused. Never shows the string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the Postgres URL must not hold a password: {PASSWORD_REASON}")]
    Password,
    #[error("the Postgres URL is empty; write postgres://user@host:5432/database")]
    Empty,
    #[error("malformed Postgres URL: {0}; write postgres://user@host:5432/database or host=… user=… dbname=…")]
    Malformed(&'static str),
    #[error("malformed Postgres URL: unknown parameter (number {0})")]
    Unknown(usize),
    #[error("the parameter '{0}' of the Postgres URL is not supported")]
    Unsupported(&'static str),
    #[error("the parameter '{parameter}' of the Postgres URL must be {right}")]
    Value { parameter: &'static str, right: &'static str },
}

/// A connection string as the parameters that libpq would see, later ones over earlier ones.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::postgres) struct ConnectionString {
    params: Vec<(&'static str, String)>,
}

impl ConnectionString {
    pub(in crate::postgres) fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The items of a comma-separated parameter.
    pub(in crate::postgres) fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(|value| value.split(',').collect()).unwrap_or_default()
    }

    /// `host:port` of each host, or the path of its socket.
    pub(in crate::postgres) fn address(&self) -> String {
        let mut hosts = self.list("host");
        if hosts.is_empty() {
            hosts = self.list("hostaddr");
        }
        if hosts.is_empty() {
            hosts.push(default_host());
        }
        let ports = self.list("port");
        let port = |i: usize| ports.get(i).or(ports.first()).copied().filter(|port| !port.is_empty()).unwrap_or("5432");
        let one = |(i, host): (usize, &&str)| match host {
            host if host.starts_with('/') => format!("{host}/.s.PGSQL.{}", port(i)),
            host if host.contains(':') => format!("[{host}]:{}", port(i)),
            host => format!("{host}:{}", port(i)),
        };
        hosts.iter().enumerate().map(one).collect::<Vec<_>>().join(",")
    }

    fn push(&mut self, name: &str, value: String, number: usize) -> Result<(), UrlError> {
        if value.contains('\0') {
            return Err(UrlError::Malformed("a value holds a NUL"));
        }
        if let Some(name) = KNOWN.iter().find(|known| **known == name) {
            self.params.push((name, value));
            return Ok(());
        }
        if WITHOUT_EFFECT.contains(&name) {
            return Ok(());
        }
        match UNSUPPORTED.iter().find(|unsupported| **unsupported == name) {
            Some(name) => Err(UrlError::Unsupported(name)),
            None => Err(UrlError::Unknown(number)),
        }
    }
}

impl FromStr for ConnectionString {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            Some(rest) => parse_url(rest),
            None => parse_keywords(text),
        }
    }
}

fn parse_url(rest: &str) -> Result<ConnectionString, UrlError> {
    let mut parsed = ConnectionString::default();
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password with a bare '/' or '?' ends the authority early, and its pieces look like a host, a port, a database.
    if rest.contains('@') {
        return Err(UrlError::Malformed(
            "'@' after the first '/' or '?'; in a name, a password or a value they are written %40, %2F and %3F",
        ));
    }
    let hosts = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            parsed.push("user", percent_decode(user)?, 0)?;
            parsed.push("password", percent_decode(password)?, 0)?;
            hosts
        }
        None => authority,
    };
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for item in hosts.split(',') {
            let (name, port) = split_port(item)?;
            names.push(percent_decode(name)?);
            ports.push(percent_decode(port)?);
        }
        parsed.push("host", names.join(","), 0)?;
        if ports.iter().any(|port| !port.is_empty()) {
            parsed.push("port", ports.join(","), 0)?;
        }
    }
    parsed.push("dbname", percent_decode(path.strip_prefix('/').unwrap_or(path))?, 0)?;
    for (i, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').ok_or(UrlError::Malformed("a parameter without '='"))?;
        let name = percent_decode(name)?;
        // libpq reads JDBC's spelling too.
        let (name, value) = match (name.as_str(), value) {
            ("ssl", "true") => ("sslmode", "require"),
            (name, value) => (name, value),
        };
        parsed.push(name, percent_decode(value)?, i + 1)?;
    }
    Ok(parsed)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(item: &str) -> Result<(&str, &str), UrlError> {
    match item.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlError::Malformed("a '[' without its ']'"))?;
            match port.strip_prefix(':') {
                Some(port) => Ok((host, port)),
                None if port.is_empty() => Ok((host, "")),
                None => Err(UrlError::Malformed("text after the ']' of a host")),
            }
        }
        None => Ok(item.split_once(':').unwrap_or((item, ""))),
    }
}

fn percent_decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digit = |i: usize| tail.get(i).and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(UrlError::Malformed("a '%' that is not followed by two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Malformed("a value is not UTF-8"))
}

/// `keyword = value` pairs; values with spaces in single quotes, `\` escapes.
fn parse_keywords(text: &str) -> Result<ConnectionString, UrlError> {
    let mut parsed = ConnectionString::default();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let (name, after) = rest.split_once('=').ok_or(UrlError::Malformed("a keyword without '='"))?;
        let (value, after) = keyword_value(after.trim_start())?;
        parsed.push(name.trim_end(), value, number)?;
        rest = after.trim_start();
    }
    Ok(parsed)
}

fn keyword_value(text: &str) -> Result<(String, &str), UrlError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[i + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &body[i..])),
            c => value.push(c),
        }
    }
    match quoted {
        true => Err(UrlError::Malformed("a quote is not closed")),
        false => Ok((value, "")),
    }
}

/// libpq's default: the socket of a local server where its folder exists, else localhost.
pub(in crate::postgres) fn default_host() -> &'static str {
    const SOCKET_FOLDER: &str = "/var/run/postgresql";
    match Path::new(SOCKET_FOLDER).is_dir() {
        true => SOCKET_FOLDER,
        false => "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConnectionString {
        text.parse().unwrap()
    }

    #[test]
    fn reads_urls() {
        let parsed = parse("postgresql://al%20ice@h1:1234,h2,[::1]:5/sh%2Fop?sslmode=verify-full&connect_timeout=3");
        assert_eq!(parsed.get("user"), Some("al ice"));
        assert_eq!(parsed.list("host"), ["h1", "h2", "::1"]);
        assert_eq!(parsed.list("port"), ["1234", "", "5"]);
        assert_eq!(parsed.get("dbname"), Some("sh/op"));
        assert_eq!(parsed.get("sslmode"), Some("verify-full"));
        assert_eq!(parsed.address(), "h1:1234,h2:5432,[::1]:5");
        assert_eq!(parse("postgres:///db?host=/run/pg&port=6").address(), "/run/pg/.s.PGSQL.6");
        assert_eq!(parse("postgres://%2Frun%2Fpg/db").address(), "/run/pg/.s.PGSQL.5432");
        assert_eq!(parse("postgres://h/db?options=a%40b").get("options"), Some("a@b"));
        assert_eq!(parse("postgres://u@h?dbname=d").get("dbname"), Some("d"));
    }

    #[test]
    fn reads_keywords() {
        let parsed = parse(r"host=h  port = 6 user='o\'brien' dbname=a\ b sslmode=require");
        assert_eq!(parsed.get("user"), Some("o'brien"));
        assert_eq!(parsed.get("dbname"), Some("a b"));
        assert_eq!(parsed.address(), "h:6");
    }
}
