//! The change feed: every committed change of the catalog's tables, whoever made it, by logical decoding.
//!
//! # Layout
//! `follow` is one life of the feed, with two connections: one streams (`dial` makes it, `wire` speaks its protocol, `decoding`
//! takes its messages apart, `pace` says when to let them gather), an ordinary one asks what new snapshots see (`snapshot`) and
//! reads present values (`present`). `tables` says what can be followed, `answers` whether statements mean what they did (`watch`
//! says when it looks, by a third connection), `control` which catalog is followed
//! and when it ends, `former` removes what earlier versions left.
//!
//! `outbox` is the other kind, where Postgres may not decode: triggers and a table that is polled.
//!
//! The slot is temporary: it ends with the connection, so nothing fills Postgres' disk when nobody listens. Nothing else is
//! made in the database: the plugin test_decoding tells of every table, so that none is published, and no UPDATE of the
//! application can fail for want of a key that a publication asks for.

mod answers;
mod control;
mod decoding;
mod dial;
mod error;
mod follow;
mod former;
mod links;
mod named;
mod outbox;
mod pace;
mod present;
mod relation;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::feed::FeedOutcome;

use super::connect::client::{Client, ClientError};
use super::connect::identity::{self, ServerIdentity};
use super::connect::session::{connect, Access};
use super::connect::settings::Settings;
use super::connect::tls;

pub use control::{FeedControl, InboxSign};
pub use error::FeedError;

use dial::{dial, Login};
use follow::{limit, simple, Follower, Parts};
use snapshot::parse_lsn;
use watch::Watch;
use wire::{Stream, WireError};

/// Making a slot takes as long as the transactions that were in progress; after this it is told.
const SLOT_PATIENCE: Duration = Duration::from_secs(5);

/// Transaction ids of 64 bits.
const LEAST_VERSION: u32 = 130_000;

/// Where changes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedKind {
    /// In the WAL, by logical decoding.
    #[default]
    Wal,
    /// In a table that triggers write to.
    Outbox,
}

/// What to follow and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    pub kind: FeedKind,
    /// Where; a connection of its own, which no pooler may be between.
    pub settings: Settings,
    /// Where queries read, if by another URL: it must lead to the same database.
    pub reads: Option<Settings>,
    /// How old the knowledge may be that all has been told: it is renewed four times as often.
    pub grace: Duration,
    /// Longest silence of a stream that is asked for an answer at least twice a second.
    pub silence: Duration,
}

impl FeedSettings {
    /// A grace of 5 s, and a silence of 30 s: a walsender may be busy with a huge transaction.
    pub fn new(settings: Settings) -> FeedSettings {
        FeedSettings {
            kind: FeedKind::default(),
            settings,
            reads: None,
            grace: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        }
    }
}

/// Follows until something goes wrong, which is what it returns. `emit` is called on this thread.
pub fn follow(settings: &FeedSettings, control: &Arc<FeedControl>, emit: &mut dyn FnMut(FeedOutcome)) -> FeedError {
    if settings.kind == FeedKind::Outbox {
        return outbox::follow(settings, control, emit);
    }
    // What goes wrong from here on is told of it.
    control.catalog();
    match prepare(settings, control, emit) {
        Ok(parts) => {
            let error = Follower::new(parts, emit).run();
            control.promises.set_followed(false);
            control.sign(InboxSign::Followed(false));
            error
        }
        // Whatever a stop interrupts, fails.
        Err(_) if control.is_stopping() => FeedError::Stopped,
        Err(error) => error,
    }
}

fn prepare(
    feed: &FeedSettings,
    control: &Arc<FeedControl>,
    emit: &mut dyn FnMut(FeedOutcome),
) -> Result<Parts, FeedError> {
    // Both connections are direct ones.
    let settings = Settings { prepare: true, ..feed.settings.clone() };
    let limit = limit(settings.statement_timeout_ms());
    let (mut client, identity) = connect(&settings, Access::ReadWrite)?;
    client.stop_by(control.flag(), Duration::ZERO);
    client.set_deadline(Instant::now() + limit);
    check_database(feed, &mut client, &identity, control)?;
    client.set_deadline(Instant::now() + limit);
    // What is committed here is nobody's data; a standby that is gone must not hold it up. Names are as the stream has them.
    client.batch_execute("SET synchronous_commit = local; SET quote_all_identifiers = off")?;
    let (login, is_utf8) = look_at_server(&mut client)?;
    client.set_deadline(Instant::now() + limit);
    former::drop_publications(&mut client)?;
    let (stream, position) = open_stream(&settings, &mut client, &login, &identity, control, emit)?;
    let (grace, silence) = (feed.grace, feed.silence);
    let watch = Watch::start(&settings, &identity, grace)?;
    let server = identity.server_start().into();
    Ok(Parts { client, stream, watch, is_utf8, position, server, control: control.clone(), limit, grace, silence })
}

/// A feed of another database would find nothing to tell, and say that all is well.
fn check_database(
    feed: &FeedSettings,
    client: &mut Client,
    identity: &ServerIdentity,
    control: &Arc<FeedControl>,
) -> Result<(), FeedError> {
    const NUMBER: &str = "SELECT d.oid::pg_catalog.text, '', '' FROM pg_catalog.pg_database d \
         WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

    let Some(reads) = &feed.reads else { return Ok(()) };
    let (mut other, found) = connect(reads, Access::ReadOnly)?;
    other.stop_by(control.flag(), Duration::ZERO);
    other.set_deadline(Instant::now() + limit(reads.statement_timeout_ms()));
    if found == *identity && simple(&mut other, NUMBER)? == simple(client, NUMBER)? {
        return Ok(());
    }
    let why = "bear.feed-url leads to another database than bear.postgres-url; it must be another way to the same one";
    Err(FeedError::Other(why.to_owned()))
}

/// Can it decode at all? Who are we there, and are its texts UTF-8 as they stand?
fn look_at_server(client: &mut Client) -> Result<(Login, bool), FeedError> {
    let [version, wal_level, _] = simple(
        client,
        "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('wal_level'), ''",
    )?;
    if version.parse::<u32>().is_ok_and(|version| version < LEAST_VERSION) {
        return Err(FeedError::Forbidden(format!(
            "the feed needs Postgres 13 or later, and the server's version is {version}"
        )));
    }
    if wal_level != "logical" {
        return Err(FeedError::Forbidden(format!(
            "wal_level is {wal_level}; the feed needs: ALTER SYSTEM SET wal_level = 'logical', and a restart of Postgres"
        )));
    }
    let [user, database, encoding] = simple(
        client,
        "SELECT session_user::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text, \
         pg_catalog.current_setting('server_encoding')",
    )?;
    // SQL_ASCII converts nothing anywhere.
    let version = client.server_version();
    Ok((Login { user, database, version }, matches!(&*encoding, "UTF8" | "SQL_ASCII")))
}

/// A stream of what is committed from now on, and where in the WAL that begins.
fn open_stream(
    settings: &Settings,
    client: &mut Client,
    login: &Login,
    identity: &ServerIdentity,
    control: &Arc<FeedControl>,
    emit: &mut dyn FnMut(FeedOutcome),
) -> Result<(Stream, u64), FeedError> {
    let (config, tls) = settings.connection().map_err(FeedError::Other)?;
    let connector = tls::connector(&tls).map_err(FeedError::Other)?;
    let limit = limit(settings.statement_timeout_ms());
    let is_same_server = |stream: &mut Stream, until: Instant| {
        let rows = stream.query(identity::QUERY, until)?;
        match identity::read(|at| rows.last().and_then(|row| row.get(at)).and_then(Option::as_deref)) {
            identity::Standing::Primary(found) if found == *identity => Ok(()),
            _ => Err(WireError::Refused("the hosts of the URL lead to different servers".to_owned())),
        }
    };
    let allowed = |error: WireError| match error {
        WireError::Server { sqlstate, message } if &*sqlstate == "42501" => FeedError::Forbidden(format!(
            "no replication connection: {message}; a superuser may allow it: ALTER ROLE \"{}\" REPLICATION",
            login.user.replace('"', "\"\"")
        )),
        WireError::Server { sqlstate, message } if matches!(&*sqlstate, "58P01" | "42704") => {
            FeedError::Forbidden(format!(
                "the feed needs the plugin test_decoding, one of Postgres' contrib modules ({message}); install them \
             (postgresql-contrib), or take bear.feed outbox"
            ))
        }
        WireError::Stopped => FeedError::Stopped,
        error => FeedError::Other(format!("no replication connection: {error}")),
    };
    let mut stream = dial(&config, &connector, login, control, is_same_server).map_err(allowed)?;
    let slot = format!("bear_{:016x}", RandomState::new().build_hasher().finish());
    let started = Instant::now();
    let mut is_told = false;
    let waits = || {
        client.set_deadline(Instant::now() + limit);
        let is_there =
            format!("SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name OPERATOR(pg_catalog.=) '{slot}'");
        match client.simple_query(&is_there) {
            // The row, and the end of rows.
            Ok(messages)
                if messages.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))) => {}
            Ok(_) => return Err("the connection that makes the slot is gone".to_owned()),
            Err(ClientError::Silent) => return Err("no answer in time".to_owned()),
            Err(error) => return Err(FeedError::from(error).to_string()),
        }
        if !is_told && started.elapsed() > SLOT_PATIENCE {
            is_told = true;
            let error =
                "it waits for transactions to end that were in progress when it connected (see pg_stat_activity)";
            emit(FeedOutcome::Down { error: error.to_owned(), allowed: true });
        }
        Ok(())
    };
    let sql = format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT");
    let made = stream.query_patiently(&sql, waits).map_err(allowed)?;
    // Columns: the slot's name, its consistent point.
    let position = made.first().and_then(|row| row.get(1)?.as_deref().and_then(parse_lsn)).unwrap_or_default();
    // A transaction without rows may be one that altered a table, so it is told, too.
    let sql =
        format!("START_REPLICATION SLOT {slot} LOGICAL 0/0 (\"include-timestamp\" 'on', \"skip-empty-xacts\" 'off')");
    stream.start_streaming(&sql, Instant::now() + limit).map_err(allowed)?;
    Ok((stream, position))
}
