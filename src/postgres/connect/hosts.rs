//! The servers that a URL leads to, one at a time: hosts in turn, and each address of a name.
//!
//! The driver would ask each whether it takes writes, and so refuse a role that is read-only by its own settings. What
//! decides is whether the server is in recovery, which is asked on the connection.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::Config;

/// How many hosts the URL names.
pub(in crate::postgres) fn count(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

/// Numbers of the hosts, in the order in which they are tried.
pub(in crate::postgres) fn order(config: &Config) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count(config)).collect();
    if is_balanced(config) {
        shuffle(&mut order);
    }
    order
}

/// A configuration for each address of one host. Looking up its name takes no longer than `limit`.
pub(in crate::postgres) fn addresses(config: &Config, number: usize, limit: Duration) -> io::Result<Vec<Config>> {
    let port = config.get_ports().get(number).or(config.get_ports().first()).copied().unwrap_or(5432);
    let given = config.get_hostaddrs().get(number).copied();
    let (name, addresses) = match (config.get_hosts().get(number), given) {
        (Some(Host::Unix(folder)), None) => {
            let mut one = without_hosts(config);
            one.host_path(folder).port(port);
            return Ok(vec![one]);
        }
        (Some(Host::Tcp(name)), Some(address)) => (name.clone(), vec![address]),
        (Some(Host::Tcp(name)), None) => (name.clone(), look_up(name, port, limit)?),
        (_, Some(address)) => (address.to_string(), vec![address]),
        (None, None) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host")),
    };
    let mut addresses = addresses;
    if is_balanced(config) {
        shuffle(&mut addresses);
    }
    let at = |address: IpAddr| {
        let mut one = without_hosts(config);
        one.host(&name).hostaddr(address).port(port);
        one
    };
    Ok(addresses.into_iter().map(at).collect())
}

fn look_up(name: &str, port: u16, limit: Duration) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async { timeout(limit, lookup_host((name, port))).await });
    // The system's resolver may still be at it; nobody waits for it.
    let found = found.map(|found| found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>()));
    runtime.shutdown_background();
    match found {
        Ok(Ok(found)) if found.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        Ok(found) => found,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer about the host's name in time")),
    }
}

fn is_balanced(config: &Config) -> bool {
    config.get_load_balance_hosts() == LoadBalanceHosts::Random
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let random = RandomState::new().build_hasher().finish();
        items.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

/// All that a configuration says but where to connect to.
fn without_hosts(config: &Config) -> Config {
    let mut new = Config::new();
    config.get_user().map(|user| new.user(user));
    config.get_password().map(|password| new.password(password));
    config.get_dbname().map(|dbname| new.dbname(dbname));
    config.get_options().map(|options| new.options(options));
    config.get_application_name().map(|name| new.application_name(name));
    config.get_connect_timeout().map(|limit| new.connect_timeout(*limit));
    config.get_tcp_user_timeout().map(|limit| new.tcp_user_timeout(*limit));
    config.get_keepalives_interval().map(|interval| new.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| new.keepalives_retries(retries));
    new.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Settings, UrlSource};

    fn config(url: &str) -> Config {
        Settings::new(url, UrlSource::Environment).connection().unwrap().0
    }

    #[test]
    fn each_host_has_all_that_the_url_says() {
        let whole = config(
            "host=db.example,10.0.0.2 hostaddr=10.0.0.1,10.0.0.3 port=1,2 user=u password=p dbname=d options='-c x=y' \
             application_name=a keepalives=0 keepalives_idle=7 keepalives_interval=8 keepalives_count=9 \
             tcp_user_timeout=1234 connect_timeout=5 sslmode=require channel_binding=require",
        );
        assert_eq!(order(&whole), [0, 1]);
        for (number, alone) in
            [(0, "host=db.example hostaddr=10.0.0.1 port=1"), (1, "host=10.0.0.2 hostaddr=10.0.0.3 port=2")]
        {
            let found = addresses(&whole, number, Duration::from_secs(1)).unwrap();
            let rest = "user=u password=p dbname=d options='-c x=y' application_name=a keepalives=0 keepalives_idle=7 \
                        keepalives_interval=8 keepalives_count=9 tcp_user_timeout=1234 connect_timeout=5 \
                        sslmode=require channel_binding=require";
            assert_eq!(found, [config(&format!("{alone} {rest}"))]);
        }
    }

    #[test]
    fn sockets_and_names_are_found() {
        let socket = config("host=/tmp port=5433");
        assert_eq!(addresses(&socket, 0, Duration::from_secs(1)).unwrap(), [config("host=/tmp port=5433")]);
        let name = addresses(&config("host=localhost"), 0, Duration::from_secs(5)).unwrap();
        assert!(name
            .iter()
            .all(|one| one.get_hosts() == [Host::Tcp("localhost".into())] && one.get_hostaddrs().len() == 1));
        assert!(!name.is_empty());
    }
}
