//! A connection whose every wait ends: the driver's futures, run to their end or to a deadline on the calling thread.
//!
//! Invariant: no method waits longer than until the deadline in force, whatever the server, a proxy or the network
//! does, and dropping a client waits for nobody. The limits of a statement in Postgres (statement_timeout) do not reach
//! a thread whose server has fallen silent.

use std::future::{poll_fn, Future};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Config, Row, RowStream, SimpleQueryMessage, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error_text::describe;

/// How often a wait looks whether it has been stopped.
const STOP_SLICE: Duration = Duration::from_millis(50);

/// Time for a request to cancel, which takes a connection of its own.
const CANCEL_LIMIT: Duration = Duration::from_millis(200);

type Wire = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::postgres) enum ClientError {
    Driver(tokio_postgres::Error),
    /// The deadline has come. What was asked may still be under way.
    Silent,
    /// The operating system grants no more descriptors.
    Runtime(io::Error),
}

impl ClientError {
    /// What Postgres said, where it was Postgres.
    pub(in crate::postgres) fn as_db_error(&self) -> Option<&DbError> {
        match self {
            ClientError::Driver(error) => error.as_db_error(),
            ClientError::Silent | ClientError::Runtime(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for ClientError {
    fn from(error: tokio_postgres::Error) -> Self {
        ClientError::Driver(error)
    }
}

/// Fields are dropped in this order: the wire says goodbye once nobody can ask any more.
pub(in crate::postgres) struct Client {
    inner: tokio_postgres::Client,
    wire: Driven,
    connector: MakeRustlsConnect,
}

impl Client {
    /// Connects until `deadline`, which then stays in force.
    pub(in crate::postgres) fn connect(
        config: &Config,
        connector: MakeRustlsConnect,
        deadline: Instant,
    ) -> Result<Client, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
        let connected =
            runtime.block_on(async { timeout_at(deadline.into(), config.connect(connector.clone())).await });
        let (inner, wire) = connected.map_err(|_| ClientError::Silent)??;
        let heard = Heard::default();
        Ok(Client { inner, wire: Driven { wire, runtime, deadline, stop: None, heard }, connector })
    }

    /// From now on no wait lasts longer than until `deadline`.
    pub(in crate::postgres) fn set_deadline(&mut self, deadline: Instant) {
        self.wire.deadline = deadline;
    }

    /// From now on a wait also ends, [`ClientError::Silent`], `grace` after `flag` has been seen set.
    pub(in crate::postgres) fn stop_by(&mut self, flag: Arc<AtomicBool>, grace: Duration) {
        self.wire.stop = Some(Stop { flag, grace });
    }

    /// The server's version, such as 15, as it said at the login.
    pub(in crate::postgres) fn server_version(&self) -> u32 {
        let version = self.wire.wire.parameter("server_version").unwrap_or_default();
        version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    /// Whether the connection is known to have ended; asks nobody.
    pub(in crate::postgres) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// The SQLSTATE with which the server has said, unasked, that all connections end: it stops at once, or another
    /// backend has crashed.
    pub(in crate::postgres) fn farewell(&self) -> Option<&str> {
        self.wire.heard.farewell.as_deref()
    }

    /// Runs `ask`, and gives the details of the notices with this message that come meanwhile.
    pub(in crate::postgres) fn details_of<T>(
        &mut self,
        message: &'static str,
        most_bytes: usize,
        ask: impl FnOnce(&mut Client) -> T,
    ) -> (T, Details) {
        self.wire.heard.listening = Some(Listening { message, most_bytes, details: Details::default() });
        let answer = ask(self);
        let listening = self.wire.heard.listening.take();
        (answer, listening.map(|listening| listening.details).unwrap_or_default())
    }

    pub(in crate::postgres) fn simple_query(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, ClientError> {
        self.wire.wait(self.inner.simple_query(sql))
    }

    pub(in crate::postgres) fn batch_execute(&mut self, sql: &str) -> Result<(), ClientError> {
        self.wire.wait(self.inner.batch_execute(sql))
    }

    pub(in crate::postgres) fn execute_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<u64, ClientError> {
        self.wire.wait(self.inner.execute_typed(sql, params))
    }

    pub(in crate::postgres) fn query_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, ClientError> {
        self.wire.wait(self.inner.query_typed(sql, params))
    }

    pub(in crate::postgres) fn prepare_typed(&mut self, sql: &str, types: &[Type]) -> Result<Statement, ClientError> {
        self.wire.wait(self.inner.prepare_typed(sql, types))
    }

    /// Runs a prepared statement; `each` sees the rows as they come and may end it.
    pub(in crate::postgres) fn query_each<P, I, E>(
        &mut self,
        statement: &Statement,
        params: I,
        each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<(), E>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
        E: From<ClientError>,
    {
        self.wire.wait(read(self.inner.query_raw(statement, params), each))
    }

    /// As [`Client::query_each`], without a statement that outlives it.
    pub(in crate::postgres) fn query_typed_each<P, I, E>(
        &mut self,
        sql: &str,
        params: I,
        each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<(), E>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, Type)>,
        E: From<ClientError>,
    {
        self.wire.wait(read(self.inner.query_typed_raw(sql, params), each))
    }

    /// Runs a prepared statement; all its rows, and how many it affected.
    pub(in crate::postgres) fn query_all<P, I>(
        &mut self,
        statement: &Statement,
        params: I,
    ) -> Result<(Vec<Row>, u64), ClientError>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        self.wire.wait(read_all(self.inner.query_raw(statement, params)))
    }

    /// As [`Client::query_all`], without a statement that outlives it.
    pub(in crate::postgres) fn query_typed_all<P, I>(
        &mut self,
        sql: &str,
        params: I,
    ) -> Result<(Vec<Row>, u64), ClientError>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, Type)>,
    {
        self.wire.wait(read_all(self.inner.query_typed_raw(sql, params)))
    }

    /// Asks Postgres to end what is under way, over a connection of its own; whether it does is not waited for.
    pub(in crate::postgres) fn cancel(&mut self) {
        let token = self.inner.cancel_token();
        let deadline = Instant::now() + CANCEL_LIMIT;
        let asked = async { timeout_at(deadline.into(), token.cancel_query(self.connector.clone())).await };
        match self.wire.runtime.block_on(asked) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("cannot cancel a query in Postgres: {}", describe(&error)),
            Err(_) => log::debug!("cannot cancel a query in Postgres: no answer"),
        }
    }
}

async fn read<E: From<ClientError>>(
    rows: impl Future<Output = Result<RowStream, tokio_postgres::Error>>,
    mut each: impl FnMut(&Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = pin!(rows.await.map_err(ClientError::from)?);
    while let Some(row) = rows.try_next().await.map_err(ClientError::from)? {
        each(&row)?;
    }
    Ok(())
}

async fn read_all(
    rows: impl Future<Output = Result<RowStream, tokio_postgres::Error>>,
) -> Result<(Vec<Row>, u64), tokio_postgres::Error> {
    let mut rows = pin!(rows.await?);
    let mut all = Vec::new();
    while let Some(row) = rows.try_next().await? {
        all.push(row);
    }
    Ok((all, rows.rows_affected().unwrap_or(0)))
}

/// The connection, which moves only while somebody waits, and what it runs on.
struct Driven {
    wire: Wire,
    runtime: Runtime,
    deadline: Instant,
    stop: Option<Stop>,
    heard: Heard,
}

/// What the server says unasked.
#[derive(Default)]
struct Heard {
    /// See [`Client::farewell`].
    farewell: Option<Box<str>>,
    listening: Option<Listening>,
}

struct Listening {
    message: &'static str,
    most_bytes: usize,
    details: Details,
}

/// What [`Client::details_of`] has kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::postgres) struct Details {
    /// In the order in which they came.
    pub(in crate::postgres) texts: Vec<String>,
    /// Some were left out: they and those before them are larger than was allowed.
    pub(in crate::postgres) is_cut: bool,
}

struct Stop {
    flag: Arc<AtomicBool>,
    grace: Duration,
}

impl Driven {
    fn wait<T, E, F>(&mut self, answer: impl Future<Output = Result<T, F>>) -> Result<T, E>
    where
        E: From<F> + From<ClientError>,
    {
        let Driven { wire, runtime, deadline, stop, heard } = self;
        let mut answer = pin!(answer);
        let driven = poll_fn(|cx| {
            // It asks before the wire is looked at, which then takes the question along. The other way round the asking
            // would wake this task itself, and the network be polled before anything is sent.
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(E::from));
            }
            let end = advance(wire, heard, cx).err();
            // What came before the end says more than that it came: why Postgres ended the connection.
            match (answer.as_mut().poll(cx), end) {
                (Poll::Pending, Some(error)) => Poll::Ready(Err(ClientError::Driver(error).into())),
                (answer, _) => answer.map_err(E::from),
            }
        });
        let timed = async {
            let mut driven = pin!(driven);
            let mut end = *deadline;
            let mut stopping = false;
            loop {
                let slice = match stop {
                    Some(_) if !stopping => end.min(Instant::now() + STOP_SLICE),
                    _ => end,
                };
                if let Ok(result) = timeout_at(slice.into(), driven.as_mut()).await {
                    return Some(result);
                }
                let now = Instant::now();
                if now >= end {
                    return None;
                }
                if let Some(stop) = stop.as_ref().filter(|stop| !stopping && stop.flag.load(Ordering::Acquire)) {
                    stopping = true;
                    end = end.min(now + stop.grace);
                }
            }
        };
        runtime.block_on(timed).unwrap_or_else(|| Err(ClientError::Silent.into()))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let Driven { wire, runtime, heard, .. } = self;
        // One attempt at what can be written at once: Terminate, for the log of a server that is well.
        let _ = runtime.block_on(poll_fn(|cx| Poll::Ready(advance(wire, heard, cx))));
    }
}

impl Heard {
    fn hear(&mut self, notice: &DbError) {
        if let Some(listening) = self.listening.as_mut().filter(|listening| listening.message == notice.message()) {
            listening.keep(notice.detail().unwrap_or_default());
            return;
        }
        log::debug!("postgres: {}: {}", notice.severity(), notice.message());
        if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(notice.code()) {
            self.farewell = Some(notice.code().code().into());
        }
    }
}

impl Listening {
    fn keep(&mut self, detail: &str) {
        let kept: usize = self.details.texts.iter().map(String::len).sum();
        match kept + detail.len() <= self.most_bytes {
            true => self.details.texts.push(detail.to_owned()),
            false => self.details.is_cut = true,
        }
    }
}

/// Writes and reads what is possible now.
fn advance(wire: &mut Wire, heard: &mut Heard, cx: &mut Context<'_>) -> Result<(), tokio_postgres::Error> {
    loop {
        match wire.poll_message(cx) {
            Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => heard.hear(&notice),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(None) | Poll::Pending => return Ok(()),
        }
    }
}
