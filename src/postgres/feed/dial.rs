//! Makes a replication connection with the settings of every other: hosts in turn, TLS, login.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{lookup_host, TcpStream, UnixStream};
use tokio_postgres::config::{ChannelBinding, Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::control::FeedControl;
use super::wire::{Pipe, Stream, Waits, Wire, WireError};

/// What pins the text of values, whatever the role or the database has set.
const PINNED: [(&str, &str); 13] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, YMD"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("quote_all_identifiers", "off"),
    // Making a slot waits for others' transactions.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Of a stream that has nothing to say for a while.
    ("wal_sender_timeout", "60s"),
    ("default_transaction_isolation", "read committed"),
    ("replication", "database"),
];

/// The same, from a version on: a server refuses what it does not know.
const PINNED_SINCE: [(&str, &str, u32); 2] = [("idle_session_timeout", "0", 14), ("transaction_timeout", "0", 17)];

fn pinned(version: u32) -> Vec<(&'static str, &'static str)> {
    let later = PINNED_SINCE.iter().filter(|(_, _, since)| version >= *since).map(|(name, value, _)| (*name, *value));
    PINNED.into_iter().chain(later).collect()
}

/// Who connects where, as the ordinary connection found it.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) database: String,
    /// Of the server, such as 15: it must be the same one.
    pub(super) version: u32,
}

/// Connects to the first host that lets us in and that `accept`s.
pub(super) fn dial(
    config: &Config,
    connector: &MakeRustlsConnect,
    login: &Login,
    control: &Arc<FeedControl>,
    mut accept: impl FnMut(&mut Stream, Instant) -> Result<(), WireError>,
) -> Result<Stream, WireError> {
    if config.get_channel_binding() == ChannelBinding::Require {
        return Err(WireError::Refused(
            "the feed's connection has no channel binding; leave channel_binding=require out of bear.feed-url"
                .to_owned(),
        ));
    }
    let limit = config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(2));
    let mut last = WireError::Refused("the URL names no host".to_owned());
    for index in 0..config.get_hosts().len().max(config.get_hostaddrs().len()) {
        let until = Instant::now() + limit;
        let waits = Waits::new(control.clone())?;
        let tried = waits.until(until, log_in(config, connector.clone(), index, login)).and_then(|wire| {
            let mut stream = Stream::new(wire, waits);
            accept(&mut stream, until).map(|()| stream)
        });
        match tried {
            Ok(stream) => return Ok(stream),
            Err(WireError::Stopped) => return Err(WireError::Stopped),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn log_in(config: &Config, connector: MakeRustlsConnect, index: usize, login: &Login) -> Result<Wire, WireError> {
    let mut wire = Wire::new(open(config, connector, index).await?);
    let mut params = pinned(login.version);
    params.extend([("user", login.user.as_str()), ("database", login.database.as_str())]);
    params.extend(config.get_application_name().map(|name| ("application_name", name)));
    params.extend(config.get_options().map(|options| ("options", options)));
    frontend::startup_message(params, &mut wire.output)?;
    wire.flush().await?;
    authenticate(&mut wire, config, login).await?;
    // Parameters and a key to cancel by, until it is ready.
    while wire.packet().await?.0 != b'Z' {}
    Ok(wire)
}

async fn open(config: &Config, mut connector: MakeRustlsConnect, index: usize) -> Result<Box<dyn Pipe>, WireError> {
    let ports = config.get_ports();
    let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let address = config.get_hostaddrs().get(index).copied();
    let (tcp, name) = match (config.get_hosts().get(index), address) {
        (Some(Host::Unix(folder)), None) => return Ok(Box::new(unix(folder, port).await?)),
        (Some(Host::Tcp(name)), Some(address)) => (tcp(config, Target::Address(address), port).await?, name.clone()),
        (Some(Host::Tcp(name)), None) => (tcp(config, Target::Name(name), port).await?, name.clone()),
        (_, Some(address)) => (tcp(config, Target::Address(address), port).await?, address.to_string()),
        (None, None) => return Err(WireError::Refused("the URL names no host".to_owned())),
    };
    let mut tcp = tcp;
    if config.get_ssl_mode() == SslMode::Disable {
        return Ok(Box::new(tcp));
    }
    if config.get_ssl_negotiation() == SslNegotiation::Postgres {
        let mut request = bytes::BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await?;
        match (tcp.read_u8().await?, config.get_ssl_mode()) {
            (b'S', _) => {}
            (_, SslMode::Prefer) => return Ok(Box::new(tcp)),
            _ => return Err(WireError::Refused("the server does not support TLS, which sslmode asks for".to_owned())),
        }
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, &name)
        .map_err(|error| WireError::Refused(error.to_string()))?;
    Ok(Box::new(connect.connect(tcp).await?))
}

async fn unix(folder: &Path, port: u16) -> Result<UnixStream, WireError> {
    Ok(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?)
}

enum Target<'a> {
    Name(&'a str),
    Address(IpAddr),
}

async fn tcp(config: &Config, target: Target<'_>, port: u16) -> Result<TcpStream, WireError> {
    let tcp = match target {
        Target::Address(address) => TcpStream::connect((address, port)).await?,
        Target::Name(name) => {
            let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
            let mut connected = None;
            for address in lookup_host((name, port)).await? {
                match TcpStream::connect(address).await {
                    Ok(tcp) => {
                        connected = Some(tcp);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            connected.ok_or(last)?
        }
    };
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(&tcp);
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    Ok(tcp)
}

async fn authenticate(wire: &mut Wire, config: &Config, login: &Login) -> Result<(), WireError> {
    let password = || {
        config
            .get_password()
            .ok_or_else(|| WireError::Refused("the server asks for a password and none is given".to_owned()))
    };
    let mut scram = None;
    loop {
        let (tag, mut body) = wire.packet().await?;
        if tag != b'R' {
            return Err(WireError::Protocol("instead of a login"));
        }
        match body.try_get_u32().map_err(|_| WireError::Protocol("a login without a method"))? {
            0 => return Ok(()),
            3 => frontend::password_message(password()?, &mut wire.output)?,
            5 => {
                let salt = body.first_chunk::<4>().ok_or(WireError::Protocol("a login without salt"))?;
                let hash = md5_hash(login.user.as_bytes(), password()?, *salt);
                frontend::password_message(hash.as_bytes(), &mut wire.output)?;
            }
            10 => {
                if !body.split(|byte| *byte == 0).any(|name| name == sasl::SCRAM_SHA_256.as_bytes()) {
                    return Err(WireError::Refused("the server offers no SCRAM-SHA-256".to_owned()));
                }
                let begun = sasl::ScramSha256::new(password()?, sasl::ChannelBinding::unsupported());
                frontend::sasl_initial_response(sasl::SCRAM_SHA_256, begun.message(), &mut wire.output)?;
                scram = Some(begun);
            }
            11 => {
                let scram = scram.as_mut().ok_or(WireError::Protocol("a login that was not begun"))?;
                scram.update(&body)?;
                frontend::sasl_response(scram.message(), &mut wire.output)?;
            }
            12 => {
                let scram = scram.as_mut().ok_or(WireError::Protocol("a login that was not begun"))?;
                scram.finish(&body)?;
                continue;
            }
            _ => return Err(WireError::Refused("the server asks for a login that is not supported".to_owned())),
        }
        wire.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_limit_of_a_role_ends_the_stream() {
        for (version, named) in [(13, [false, false]), (14, [true, false]), (16, [true, false]), (17, [true, true])] {
            let pinned = pinned(version);
            let has = |name| pinned.contains(&(name, "0"));
            assert_eq!(["idle_session_timeout", "transaction_timeout"].map(has), named, "{version}");
            for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
                assert!(has(name), "{version}: {name}");
            }
        }
    }
}
