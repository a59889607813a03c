//! One life of the feed over the outbox.
//!
//! ```text
//! connect -> alive -> triggers -> registered -> triggers still there -> Connected
//!                                                   |
//!   poll -> transactions that became visible -> present values read -> Changed
//!   each quarter of the grace: are the triggers still there, in the same round trip? -> CaughtUp
//! ```
//! Invariant: from the first poll's snapshot on, every commit to a covered table is in the outbox when it becomes
//! visible. A transaction that had written to a table before its triggers were there has ended when they are made, for
//! that takes a lock; one that may have found nobody alive is waited for.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::catalog::Section;
use crate::core::feed::promise::Awaited;
use crate::core::feed::{FeedOutcome, Gathered, SectionChange};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::session::{connect, Access};
use crate::postgres::connect::settings::Settings;

use super::super::follow::{limit, patience, simple, unreadable};
use super::super::present::Present;
use super::super::snapshot::{in_progress, IN_PROGRESS};
use super::super::watch::{retell_after, Watch};
use super::clean::Cleaner;
use super::poll::{leap, Look, News, Poller, Written, IS_ALIVE};
use super::schema;
use super::tables::Tables;
use crate::postgres::feed::control::FeedControl;
use crate::postgres::feed::error::FeedError;
use crate::postgres::feed::{check_database, FeedSettings, LEAST_VERSION};

/// Rows that one message of changes is made of, unless one transaction has more.
const ROWS_A_MESSAGE: usize = 1_000;

/// The wait between two polls: after one that found something, and the most that it grows to.
const POLL_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(16));

/// How often the triggers are told that somebody reads, and the cleaner how far.
const ALIVE_AGAIN: Duration = Duration::from_secs(2);

/// Follows until something goes wrong, which is what it returns.
pub(in crate::postgres::feed) fn follow(
    feed: &FeedSettings,
    control: &Arc<FeedControl>,
    emit: &mut dyn FnMut(FeedOutcome),
) -> FeedError {
    let ended = connect_and_run(feed, &control.catalog(), control, emit);
    control.promises.set_followed(false);
    match ended {
        Ok(never) => match never {},
        // Whatever a stop interrupts, fails.
        Err(_) if control.is_stopping() => FeedError::Stopped,
        Err(error) => error,
    }
}

fn connect_and_run(
    feed: &FeedSettings,
    sections: &[Section],
    control: &Arc<FeedControl>,
    emit: &mut dyn FnMut(FeedOutcome),
) -> Result<Infallible, FeedError> {
    // A direct connection: statements stay prepared.
    let settings = Settings { prepare: true, ..feed.settings.clone() };
    let (mut client, identity) = connect(&settings, Access::ReadWrite)?;
    client.stop_by(control.flag(), Duration::ZERO);
    client.set_deadline(Instant::now() + limit(settings.statement_timeout_ms()));
    check_database(feed, &mut client, &identity, control)?;
    let mut desk = Desk {
        client,
        limit: limit(settings.statement_timeout_ms()),
        number: (RandomState::new().build_hasher().finish() >> 1) as i64,
    };
    let ready = desk.prepare(sections, control)?;
    let present = Present::new(ready.tables.selects.clone(), desk.limit);
    let grace = feed.grace;
    let cleaner = Cleaner::new(desk.number);
    let mut watch = Watch::start(&settings, &identity, grace)?;
    watch.follow(sections, control);
    let now = Instant::now();
    let reader = Reader {
        server: identity.server_start().into(),
        awaited: Awaited::new(patience(grace)),
        nearly: None,
        told: 0,
        desk,
        sections,
        control,
        emit,
        ready,
        present,
        watch,
        altered: Vec::new(),
        altered_at: now,
        cleaner,
        grace,
        probe_at: now,
        alive_at: now,
    };
    reader.run()
}

/// The connection and who we are on it.
struct Desk {
    client: Client,
    /// Longest time for an answer.
    limit: Duration,
    /// Another one for each connection.
    number: i64,
}

/// What connecting has made.
struct Ready {
    tables: Tables,
    poller: Poller,
    /// In progress when the triggers were told that somebody is alive: they may have written nothing.
    unsettled: Vec<u64>,
}

impl Desk {
    /// The connection, for one more statement.
    fn client(&mut self) -> &mut Client {
        self.client.set_deadline(Instant::now() + self.limit);
        &mut self.client
    }

    fn prepare(&mut self, sections: &[Section], control: &FeedControl) -> Result<Ready, FeedError> {
        // What is committed here is nobody's data; a standby that is gone must not hold it up.
        self.client()
            .batch_execute("SET synchronous_commit = off; SET default_transaction_isolation = 'read committed'")?;
        let [version, ..] = simple(self.client(), "SELECT pg_catalog.current_setting('server_version_num'), '', ''")?;
        if version.parse::<u32>().is_ok_and(|version| version < LEAST_VERSION) {
            return Err(FeedError::Forbidden(format!(
                "the feed needs Postgres 13 or later, and the server's version is {version}"
            )));
        }
        schema::ensure(self.client())?;
        let unsettled = self.come_alive()?;
        // What a dump has brought from elsewhere would be new for ever.
        self.client().batch_execute(
            "DELETE FROM bear.outbox WHERE xid OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())",
        )?;
        let tables = Tables::follow(self.client(), sections, control)?;
        self.register(&tables)?;
        let sql = tables.fingerprint_sql();
        let [fingerprint, ..] = simple(self.client(), &format!("SELECT {sql}"))?;
        // What was altered until then is looked at here, and what is altered from then on shows.
        schema::ensure(self.client())?;
        // Until somebody was registered for them, they might have been swept away.
        if Tables::follow(self.client(), sections, control)? != tables {
            return Err(FeedError::Other("the tables of the catalog are being altered".to_owned()));
        }
        let number = self.number;
        let poller = Poller::start(self.client(), &tables, (sql, fingerprint), number)?;
        Ok(Ready { tables, poller, unsettled })
    }

    /// From now on triggers write, but for those that have asked already: these transactions are told.
    fn come_alive(&mut self) -> Result<Vec<u64>, FeedError> {
        let sql = set_alive();
        let [was_alive, ..] = simple(self.client(), &sql)?;
        if was_alive == "true" {
            return Ok(Vec::new());
        }
        let row = simple(self.client(), IN_PROGRESS)?;
        let (_, xids) = in_progress(&row).ok_or_else(|| unreadable(&row[0]))?;
        Ok(xids)
    }

    /// Tells triggers and cleaners that somebody reads, and how far.
    fn stay_alive(&mut self, last: &str) -> Result<(), FeedError> {
        let number = self.number;
        self.client().batch_execute(&format!(
            "UPDATE bear.outbox_reader SET snapshot = '{last}', seen_at = pg_catalog.clock_timestamp() \
             WHERE reader OPERATOR(pg_catalog.=) {number}::pg_catalog.int8"
        ))?;
        // The next poll would not see any more that there was a leap.
        let sql = set_alive();
        match &simple(self.client(), &sql)?[0][..] {
            "true" => Ok(()),
            _ => Err(leap()),
        }
    }

    fn register(&mut self, tables: &Tables) -> Result<(), FeedError> {
        let sources: Vec<String> = tables.sources().iter().map(i64::to_string).collect();
        let sql = format!(
            "INSERT INTO bear.outbox_reader (reader, sources, snapshot) \
             VALUES ({}, ARRAY[{}]::pg_catalog.int8[], pg_catalog.pg_current_snapshot())",
            self.number,
            sources.join(",")
        );
        Ok(self.client().batch_execute(&sql)?)
    }

    /// Nobody needs to wait until it is forgotten. A stop leaves time for a try.
    fn leave(&mut self) {
        let sql = format!(
            "DELETE FROM bear.outbox_reader WHERE reader OPERATOR(pg_catalog.=) {}::pg_catalog.int8",
            self.number
        );
        if let Err(error) = self.client().batch_execute(&sql) {
            log::debug!("the outbox will forget its reader later: {}", FeedError::from(error));
        }
    }
}

/// Also says whether any trigger, asked until now, would have found somebody alive.
fn set_alive() -> String {
    format!(
        "SELECT ({IS_ALIVE})::pg_catalog.text, pg_catalog.setval('bear.outbox_alive'::pg_catalog.regclass, \
         extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.int8)::pg_catalog.text, '' \
         FROM bear.outbox_alive a"
    )
}

struct Reader<'a> {
    desk: Desk,
    sections: &'a [Section],
    control: &'a FeedControl,
    emit: &'a mut dyn FnMut(FeedOutcome),
    ready: Ready,
    present: Present,
    watch: Watch,
    /// What was altered when it was looked at last: told once more. A session may see a commit and know what it has altered
    /// only a moment later, and what it fetched in between is as before.
    altered: Vec<usize>,
    altered_at: Instant,
    cleaner: Cleaner,
    grace: Duration,
    probe_at: Instant,
    alive_at: Instant,
    /// When the server was started, as it writes it.
    server: Box<str>,
    awaited: Awaited<Told>,
    /// All that had ended by then has been told, as far as no promise is open.
    told: u64,
    /// All has been told that was committed before, but for what own transactions before the mark have promised.
    nearly: Option<(CaughtUp, u64)>,
}

/// What is said of a transaction beside its rows.
#[derive(Clone, Copy)]
struct Told {
    position: u64,
    committed_us: i64,
}

/// All that had ended by then is told.
struct CaughtUp {
    asked: Instant,
    position: u64,
}

impl Reader<'_> {
    fn run(mut self) -> Result<Infallible, FeedError> {
        let ended = self.poll_on();
        if self.control.is_stopping() {
            self.desk.leave();
        }
        ended
    }

    fn poll_on(&mut self) -> Result<Infallible, FeedError> {
        self.control.promises.set_followed(true);
        self.tell_connected();
        let mut gap = POLL_AGAIN.0;
        loop {
            let found = self.step()?;
            gap = if found { POLL_AGAIN.0 } else { (gap + gap / 4).min(POLL_AGAIN.1) };
            if self.cleaner.is_due() {
                let limit = self.desk.limit;
                self.cleaner.clean(&mut self.desk.client, limit)?;
            }
            self.control.sleep(gap);
            if self.control.is_stopping() {
                return Err(FeedError::Stopped);
            }
        }
    }

    fn tell_connected(&mut self) {
        (self.emit)(FeedOutcome::Connected { coverage: self.ready.tables.named.coverage.clone() });
    }

    /// One poll and what it brings; says whether there was something.
    fn step(&mut self) -> Result<bool, FeedError> {
        let asked = Instant::now();
        let look = if asked >= self.probe_at { Look::AtTablesToo } else { Look::AtRows };
        let Ready { tables, poller, .. } = &mut self.ready;
        let promise = |xid| self.control.promises.take(&self.server, xid, self.sections);
        let news = poller.poll(&mut self.desk.client, tables, look, self.desk.limit, &promise)?;
        self.settle(&news);
        let position = news.position;
        let found = !news.transactions.is_empty();
        self.tell(news)?;
        if look == Look::AtTablesToo {
            if !self.altered.is_empty() && asked > self.altered_at + retell_after(self.grace) {
                (self.emit)(FeedOutcome::AlteredBefore { sections: std::mem::take(&mut self.altered) });
            }
            self.watch.ask(asked);
            self.probe_at = asked + self.grace / 4;
            self.nearly.get_or_insert_with(|| (CaughtUp { asked, position }, self.awaited.mark()));
        }
        self.see_to_promises()?;
        let sections = self.watch.changed()?;
        if !sections.is_empty() {
            self.present.prepare_anew();
            self.altered.extend(&sections);
            self.altered_at = Instant::now();
            let coverage = self.ready.tables.named.coverage.clone();
            (self.emit)(FeedOutcome::Altered { coverage, sections });
        }
        if let Some((CaughtUp { asked, position }, _)) =
            self.nearly.take_if(|(_, mark)| !self.awaited.has_before(*mark))
        {
            self.told = self.told.max(position);
            let asked = self.watch.bound(asked);
            (self.emit)(FeedOutcome::CaughtUp { asked, position: self.told, lag_bytes: 0 });
        }
        if asked >= self.alive_at {
            self.alive_at = asked + ALIVE_AGAIN;
            self.desk.stay_alive(self.ready.poller.last())?;
        }
        Ok(found)
    }

    /// One that has ended may have changed what no trigger wrote down.
    fn settle(&mut self, news: &News) {
        let before = self.ready.unsettled.len();
        self.ready.unsettled.retain(|xid| !news.snapshot.has_ended(*xid));
        if self.ready.unsettled.len() < before {
            self.tell_connected();
        }
    }

    fn tell(&mut self, news: News) -> Result<(), FeedError> {
        let (position, committed_us) = (news.position, news.since_us);
        let (told, now) = (Told { position, committed_us }, Instant::now());
        let mut transactions = Vec::with_capacity(news.transactions.len());
        for Written { mut gathered, promise } in news.transactions.into_values() {
            if let Some(promise) = promise.and_then(|promise| self.awaited.add(promise, told, now)) {
                gathered.merge(Gathered::of_promised(promise.rows()));
            }
            transactions.push(gathered);
        }
        let mut transactions = transactions.into_iter().peekable();
        while let Some(mut gathered) = transactions.next() {
            let mut count = 1;
            let fits = |next: &Gathered, kept: usize| kept + next.len() <= ROWS_A_MESSAGE;
            while let Some(next) = transactions.next_if(|next| fits(next, gathered.len())) {
                count += 1;
                gathered.merge(next);
            }
            let client = self.desk.client();
            let changes = self.present.read(client, self.sections, gathered)?;
            self.tell_changes(changes, count, told);
        }
        Ok(())
    }

    fn tell_changes(&mut self, changes: Vec<SectionChange>, transactions: u32, told: Told) {
        let Told { position, committed_us } = told;
        if self.awaited.is_empty() {
            self.told = self.told.max(position);
        }
        (self.emit)(FeedOutcome::Changed { changes, position: self.told, transactions, committed_us });
    }

    /// Tells the rows of own transactions whose publication has not dropped them in time, or never will.
    fn see_to_promises(&mut self) -> Result<(), FeedError> {
        if self.awaited.is_empty() {
            return Ok(());
        }
        for (promise, told) in self.awaited.due(Instant::now()) {
            let client = self.desk.client();
            let changes = self.present.read(client, self.sections, Gathered::of_promised(promise.rows()))?;
            self.tell_changes(changes, 0, told);
        }
        Ok(())
    }
}
