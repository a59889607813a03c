//! One pass: a database with rows, a Redis in front of it, a kind of feed, and changes until the time is up, while clients ask.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

use postgres::Client;

use crate::support::feed::wait_told;
use crate::support::wait::wait_at_most;
use crate::support::{Proxy, Random, Redis, Reply};

use super::answers::{Comparison, Oracle};
use super::calls::Caller;
use super::catalog::Catalog;
use super::changes::{is_bracket, Changer, Enqueuer, Step};
use super::checker::{Checker, Stale};
use super::copy::Copy;
use super::data::{mentioned, Data, Rows};
use super::facts::{Facts, MOST_ROWS};
use super::races::{Overtaken, Races};
pub use super::server::Feed;
use super::server::{self, patience, standings, texts, untold_jobs, Standing};

/// Entries of all queries together, and of one query at least and at most.
const ENTRIES: usize = 240;
const LEAST_ENTRIES: usize = 1;
const MOST_ENTRIES: usize = 8;

/// Changes of a pass, however slow the machine is.
const LEAST_STEPS: usize = 12;

/// So long a job may take.
const JOB_PATIENCE_MS: &str = "10000";

/// What all passes share.
pub struct Ground<'a> {
    pub copy: &'a Copy,
    pub facts: &'a Facts,
    pub catalog: &'a Catalog,
    pub text: &'a str,
    /// Tables that have rows, parents first; those that queries read.
    pub order: &'a [usize],
    pub read: &'a BTreeSet<usize>,
    /// The database with the rows.
    pub filled: &'a str,
    /// A fault to put into the module.
    pub mutation: Option<&'a str>,
}

/// A stale answer, with what happened since it was fetched.
pub struct Finding {
    pub stale: Stale,
    /// Rows as they were when it was fetched, of each table of the order.
    pub rows: Vec<Rows>,
    pub steps: Vec<Step>,
}

/// Of each query the first.
#[derive(Default)]
pub struct Findings {
    pub stale: BTreeMap<usize, Finding>,
    pub overtaken: BTreeMap<usize, Overtaken>,
}

/// Whether a pass has found what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    Yes,
    No,
}

pub struct Pass<'a> {
    pub ground: &'a Ground<'a>,
    pub feed: Feed,
    pub redis: Redis,
    proxy: Rc<Proxy>,
    pub checker: Checker,
    pub standings: Vec<Standing>,
    pub client: Client,
    pub notes: Vec<String>,
    held: BTreeSet<usize>,
    /// Sections and names of jobs that are not made.
    held_jobs: BTreeSet<(String, String)>,
    database: String,
}

impl<'a> Pass<'a> {
    /// The error is what the module says of the catalog.
    pub fn start(ground: &'a Ground<'a>, feed: Feed) -> Result<Pass<'a>, Vec<String>> {
        let database = format!("prove_{}", feed.name());
        ground.copy.database(&database, Some(ground.filled)).map_err(|why| vec![why])?;
        let (proxy, url) = server::proxy(&ground.copy.url(&database)).map_err(|why| vec![why])?;
        let is_there = || ground.copy.client(&database).is_ok();
        let redis = server::start(&url, is_there, ground.text, ground.catalog, feed, ground.mutation)?;
        let connect = || ground.copy.client(&database).map_err(|why| vec![why]);
        let standings = standings(&redis, ground.catalog);
        let queries = &ground.catalog.queries;
        let comparisons =
            queries.iter().zip(&standings).map(|(query, standing)| Comparison::new(query, &standing.reasons));
        let checker = Checker::new(&redis, Oracle::new(connect()?, queries), comparisons.collect());
        let mut pass = Pass {
            ground,
            feed,
            redis,
            proxy: Rc::new(proxy),
            checker,
            standings,
            client: connect()?,
            notes: Vec::new(),
            held: BTreeSet::new(),
            held_jobs: BTreeSet::new(),
            database,
        };
        pass.wait();
        pass.hold_untold();
        pass.hold_jobs();
        Ok(pass)
    }

    /// Until the feed has told what is committed. A Postgres that has gone tells nothing any more, and this ends as where any server of
    /// the trial does not do as it should.
    pub fn wait(&self) {
        assert!(!self.client.is_closed(), "the Postgres of the copy has ended");
        if self.feed != Feed::Off {
            wait_told(&self.redis);
        }
    }

    /// Tables that the feed says it does not follow: their changes reach nobody, and that is said already.
    fn hold_untold(&mut self) {
        if self.feed == Feed::Off {
            return;
        }
        for untold in texts(&self.redis.run("BEAR.FEED").map()["not_covered"]) {
            let name = untold.split(':').next().unwrap_or_default().trim().trim_matches('\'');
            let is_it = |place: &usize| {
                let table = &self.ground.facts.tables[*place];
                [table.name.clone(), format!("{}.{}", table.schema, table.name)].iter().any(|known| known == name)
            };
            self.held.extend((0..self.ground.facts.tables.len()).filter(is_it));
            self.notes.push(format!("{}: not followed, and so not changed: {untold}", self.feed.name()));
        }
        let before = self.held.clone();
        self.held = self.ground.facts.reaching(&before);
        let tables = self.held.difference(&before).map(|place| self.ground.facts.tables[*place].plain());
        let tables: Vec<String> = tables.collect();
        if !tables.is_empty() {
            self.notes.push(format!(
                "{}: nor are tables changed whose rows such ones follow by a foreign key: {}",
                self.feed.name(),
                tables.join(", ")
            ));
        }
    }

    /// Columns with tenants, of tables whose old rows the WAL does not tell: that a row has left a tenant reaches only what shows it.
    fn untold_tenants(&mut self) -> BTreeSet<(usize, usize)> {
        if self.feed != Feed::Wal {
            return BTreeSet::new();
        }
        let (names, tables) = (self.ground.catalog.tenant_columns(), &self.ground.facts.tables);
        let of = |place: &usize| {
            let columns = tables[*place].columns.iter().enumerate();
            let tenants = columns.filter(|(_, column)| names.contains(&*column.name));
            tenants.map(|(at, _)| (*place, at)).collect::<Vec<_>>()
        };
        let silent = self.ground.order.iter().filter(|place| !tables[**place].tells_old_rows);
        let found: BTreeSet<(usize, usize)> = silent.flat_map(of).collect();
        let silent: BTreeSet<String> = found.iter().map(|(place, _)| tables[*place].plain()).collect();
        if !silent.is_empty() {
            let names: Vec<String> = silent.into_iter().collect();
            self.notes.push(format!(
                "wal: no row is moved to another tenant: of which tenant it was is not told without REPLICA IDENTITY FULL of {}",
                names.join(", ")
            ));
        }
        found
    }

    /// Jobs whose changes reach nobody.
    fn hold_jobs(&mut self) {
        self.held_jobs = untold_jobs(&self.redis, self.ground.catalog);
        if !self.held_jobs.is_empty() {
            let names: Vec<String> = self.held_jobs.iter().map(|(section, name)| format!("{section} {name}")).collect();
            self.notes.push(format!(
                "{}: jobs that are not made, for nobody tells what their triggers change: {}",
                self.feed.name(),
                names.join(", ")
            ));
        }
    }

    /// Changes until the time is up, or `progress` says that it is enough; the first stale answer of each query.
    pub fn run(
        &mut self,
        random: &mut Random,
        until: Instant,
        mut progress: impl FnMut(&Checker, usize) -> Enough,
    ) -> Findings {
        let ground = self.ground;
        let mut data = Data::new(ground.facts, ground.catalog);
        let callers: Vec<Caller> =
            ground.catalog.queries.iter().map(|query| Caller::new(ground.facts, query)).collect();
        let most = (ENTRIES / callers.len().max(1)).clamp(LEAST_ENTRIES, MOST_ENTRIES);
        let kept = self.untold_tenants();
        let changer = Changer::new(ground.order, ground.read, &self.held, kept);
        let jobs = ground.catalog.jobs.iter();
        let jobs = jobs.filter(|job| !self.held_jobs.contains(&(job.section.clone(), job.name.clone())));
        let enqueuers: Vec<Enqueuer> = jobs.map(|job| Enqueuer::new(ground.facts, job)).collect();
        let enqueuers: Vec<Enqueuer> =
            enqueuers.into_iter().filter(|one| one.tables().is_disjoint(&self.held)).collect();
        for (query, caller) in callers.iter().enumerate() {
            for _ in 0..most {
                self.call(query, caller, &mut data, random);
            }
        }
        // The triggers of the outbox are DDL: until all statements have been looked at again nothing is stored.
        let begun = Instant::now();
        wait_at_most(patience(ground.catalog), || {
            self.checker.fill(&self.redis, 0);
            self.checker.entries.iter().any(|entry| entry.is_cached).then_some(())
        });
        let until = until + begun.elapsed();
        let proxy = Rc::clone(&self.proxy);
        let mut races = Races::new(&self.redis, &proxy, callers.len(), random);
        self.race(&mut races, &callers, &mut data, random);
        let mut findings = Findings::default();
        let read: Vec<BTreeSet<usize>> =
            ground.catalog.queries.iter().map(|query| mentioned(ground.facts, &query.sql)).collect();
        let (mut steps, mut states): (Vec<Step>, Vec<Vec<Rows>>) = (Vec::new(), vec![self.state(&mut data, None)]);
        let mut enough = Enough::No;
        while enough == Enough::No && (Instant::now() < until || steps.len() < LEAST_STEPS) {
            races.rest(&mut self.checker, &self.redis);
            self.renew(&callers, most, &mut data, random);
            self.checker.fill(&self.redis, steps.len());
            let may_ask_lent = random.is(35);
            if may_ask_lent {
                self.checker.lend();
            }
            races.go_on(may_ask_lent);
            let jobs = match self.feed {
                Feed::Off => true,
                _ => !enqueuers.is_empty() && random.is(20),
            };
            let step = match jobs {
                true => random.pick(&enqueuers).and_then(|one| one.draw(&mut self.client, &mut data, random)),
                false => changer.transaction(&mut self.client, &mut data, random),
            };
            let version = races.begin();
            steps.push(step.and_then(|step| self.make(step)).unwrap_or(Step::Transaction(vec!["COMMIT".to_owned()])));
            data.forget();
            self.wait();
            races.seen(version);
            let after = self.state(&mut data, states.last());
            let changed = self.changed(&states[states.len() - 1], &after);
            states.push(after);
            // Now and then all are asked, for what a query reads is told by its text.
            let all = random.is(5);
            for stale in self.checker.check(|query| all || !read[query].is_disjoint(&changed)) {
                findings.stale.entry(stale.query).or_insert_with(|| Finding {
                    rows: states[stale.filled_at].clone(),
                    steps: steps[stale.filled_at..].iter().filter(|step| step.weight() > 0).cloned().collect(),
                    stale,
                });
            }
            for overtaken in races.judge(&mut self.checker, version, &steps) {
                findings.overtaken.entry(overtaken.query).or_insert(overtaken);
            }
            if random.is(30) {
                races.make_room(random);
                self.race(&mut races, &callers, &mut data, random);
            }
            enough = progress(&self.checker, steps.len());
        }
        findings
    }

    /// Calls for clients to ask, of queries by turns from a random one on.
    fn race(&mut self, races: &mut Races, callers: &[Caller], data: &mut Data, random: &mut Random) {
        /// Draws until one is found that is not an entry.
        const DRAWS: usize = 5;
        let first = random.below(callers.len());
        for query in (first..callers.len()).chain(0..first).cycle().take(2 * callers.len()) {
            if !races.has_room() {
                return;
            }
            let own = (0..DRAWS).find_map(|_| {
                let call = callers[query].draw(&mut self.client, data, random)?;
                let now = self.checker.reserve(query, &call)?;
                Some((call, now))
            });
            match own {
                Some((call, now)) => races.add(query, call, now, false),
                None => {
                    if let Some((call, now)) = self.checker.share(query) {
                        races.add(query, call, now, true);
                    }
                }
            }
        }
    }

    fn call(&mut self, query: usize, caller: &Caller, data: &mut Data, random: &mut Random) {
        if let Some(call) = caller.draw(&mut self.client, data, random) {
            self.checker.add(query, call);
        }
    }

    /// Some calls give way to others, that take values which the changes have brought.
    fn renew(&mut self, callers: &[Caller], most: usize, data: &mut Data, random: &mut Random) {
        for (query, caller) in callers.iter().enumerate() {
            if random.is(6) {
                self.checker.make_room(query, most);
                self.call(query, caller, data, random);
            }
        }
    }

    /// Tables whose rows are as they were are kept once.
    fn state(&mut self, data: &mut Data, before: Option<&Vec<Rows>>) -> Vec<Rows> {
        let of = |(at, place): (usize, &usize)| {
            let rows = data.rows(&mut self.client, *place);
            before.map(|before| &before[at]).filter(|before| ***before == *rows).cloned().unwrap_or(rows)
        };
        self.ground.order.iter().enumerate().map(of).collect()
    }

    /// Tables whose rows are others, or may be, for there are more than are read.
    fn changed(&self, before: &[Rows], after: &[Rows]) -> BTreeSet<usize> {
        let is_other = |before: &Rows, after: &Rows| !Rc::ptr_eq(before, after) || after.len() >= MOST_ROWS;
        let places = self.ground.order.iter().zip(before.iter().zip(after));
        places.filter(|(_, (before, after))| is_other(before, after)).map(|(place, _)| *place).collect()
    }

    /// The step as it was made; None where nothing of it could be.
    pub fn make(&mut self, step: Step) -> Option<Step> {
        match step {
            Step::Job { space, name, data } => {
                let words = ["BEAR.ENQUEUE", &space, &name, &data, "ATTEMPTS", "1", "BLOCK", JOB_PATIENCE_MS];
                let reply = self.checker.wire().call(&words);
                let is_done =
                    matches!(reply, Reply::Array(_) | Reply::Map(_)) && reply.map()["state"].text() == "completed";
                is_done.then_some(Step::Job { space, name, data })
            }
            Step::Transaction(statements) => {
                let all = format!("BEGIN; {}", statements.join("; "));
                if self.client.batch_execute(&all).is_ok() {
                    return Some(Step::Transaction(statements));
                }
                let _ = self.client.batch_execute("ROLLBACK");
                // What a constraint refuses is left out.
                let good: Vec<String> = self.those_that_work(statements);
                let all = format!("BEGIN; {}", good.join("; "));
                let is_made = good.iter().any(|sql| !is_bracket(sql)) && self.client.batch_execute(&all).is_ok();
                if !is_made {
                    let _ = self.client.batch_execute("ROLLBACK");
                }
                is_made.then_some(Step::Transaction(good))
            }
        }
    }

    fn those_that_work(&mut self, statements: Vec<String>) -> Vec<String> {
        let client = &mut self.client;
        let _ = client.batch_execute("BEGIN");
        let works = |sql: &String| {
            if is_bracket(sql) {
                return true;
            }
            let is_done = client.batch_execute(&format!("SAVEPOINT try; {sql}")).is_ok();
            let _ = client.batch_execute(if is_done { "RELEASE SAVEPOINT try" } else { "ROLLBACK TO SAVEPOINT try" });
            is_done
        };
        let good = statements.into_iter().filter(works).collect();
        let _ = self.client.batch_execute("ROLLBACK");
        good
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.ground.copy.drop_database(&self.database);
    }
}

/// Rows to begin with, as statements, parents first.
pub fn inserts(ground: &Ground, rows: &[Rows]) -> Vec<String> {
    let mut statements = Vec::new();
    for (place, rows) in ground.order.iter().zip(rows) {
        let table = &ground.facts.tables[*place];
        let refers_to_itself = table.foreign.iter().any(|foreign| foreign.target == *place);
        // Those that were refused because what they refer to was not there yet come again.
        for _ in 0..if refers_to_itself && !table.key.is_empty() { 2 } else { 1 } {
            for row in Rc::clone(rows).iter() {
                let values: Vec<_> =
                    row.iter().cloned().enumerate().filter(|(at, _)| !table.columns[*at].is_generated).collect();
                statements.push(table.insert(&values));
            }
        }
    }
    statements
}
