//! A database of one test: its schema, what was executed in it, and gates that hold queries still.
//!
//! A gate makes a race a fact: a catalog's query that calls `gate()` while a gate is closed stops there until the test
//! opens it, so that the test can act in the middle of a fill without a sleep. Who comes after a second gate was closed
//! stands before the second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use postgres::Client;

use super::postgres::{Postgres, BY_PASSWORD, SUPERUSER};
use super::wait::eventually;

/// The first key of the advisory locks behind gates.
const GATE_LOCK: i32 = 4711;

/// In every database. The function only reads and locks: it works in a read-only transaction.
const GATE_SQL: &str = "
CREATE TABLE closed_gate(number int NOT NULL);
INSERT INTO closed_gate VALUES (0);
CREATE FUNCTION gate() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE gate int := (SELECT number FROM public.closed_gate);
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, gate);
    RETURN gate;
END $$;
";

pub struct Database {
    postgres: Postgres,
    name: String,
}

/// Holds those who call `gate()` from now on; dropping it opens it.
pub struct Gate {
    holder: Client,
    looker: Client,
    number: i32,
}

impl Database {
    pub(super) fn create(postgres: &Postgres, schema: &str) -> Database {
        // A template that is being copied must not be copied by a second session, nor made twice.
        static TEMPLATES: OnceLock<Mutex<HashMap<(u16, String), String>>> = OnceLock::new();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let fresh = |kind: &str| format!("{kind}_{}", COUNTER.fetch_add(1, Ordering::Relaxed));

        let mut admin = postgres.client(SUPERUSER);
        let mut templates = TEMPLATES.get_or_init(Mutex::default).lock().unwrap_or_else(|poison| poison.into_inner());
        let key = (postgres.port(), schema.to_owned());
        if !templates.contains_key(&key) {
            let template = fresh("template");
            run(&mut admin, &format!("CREATE DATABASE {template}"));
            let mut client = postgres.client(&template);
            run(&mut client, GATE_SQL);
            run(&mut client, schema);
            drop(client);
            eventually("the template has no connection", || {
                let rows = admin.query("SELECT FROM pg_stat_activity WHERE datname = $1", &[&template]).unwrap();
                rows.is_empty()
            });
            templates.insert(key.clone(), template);
        }
        let name = fresh("test");
        run(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {}", templates[&key]));
        Database { postgres: postgres.clone(), name }
    }

    /// The same database in another cluster: in a standby of this one.
    pub fn in_cluster(&self, postgres: &Postgres) -> Database {
        Database { postgres: postgres.clone(), name: self.name.clone() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// For `BEAR_POSTGRES_URL`.
    pub fn url(&self) -> String {
        self.url_through(self.postgres.port())
    }

    /// By a socket in the file system, which no network hinders.
    pub fn local_url(&self) -> String {
        self.postgres.local_url(&self.name)
    }

    /// The same through the port of a proxy.
    pub fn url_through(&self, port: u16) -> String {
        self.postgres.url_through(port, &self.name)
    }

    pub fn client(&self) -> Client {
        self.postgres.client(&self.name)
    }

    /// None where the server is away.
    pub fn try_client(&self) -> Option<Client> {
        self.postgres.try_client(&self.name)
    }

    /// Runs statements; a failure fails the test.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        run(&mut self.client(), sql);
    }

    /// A new role that may read and write every table and needs `password`; its name.
    pub fn role(&self, password: &str) -> String {
        let role = format!("role_of_{}", self.name);
        let mut client = self.client();
        run(
            &mut client,
            &format!(
                "DO $$ BEGIN CREATE ROLE {BY_PASSWORD}; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
                 SET password_encryption = 'scram-sha-256'; -- md5 before Postgres 14
                 CREATE ROLE {role} LOGIN PASSWORD '{password}' IN ROLE {BY_PASSWORD};
                 GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
                 GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
            ),
        );
        role
    }

    /// From the next connection on, what is executed here is not logged: for tests that execute very much. Errors are.
    pub fn log_errors_only(&self) {
        self.run(&format!("ALTER DATABASE {} SET log_statement = 'none'", self.name));
    }

    /// Times that a statement holding `text` was executed, by anybody. PREPARE and EXPLAIN do not count, nor do
    /// statements that learn the columns of a query, or what it depends on, and read none of its rows (`… ON false`, `… WHERE false`).
    ///
    /// The server logs a statement before it runs it, so an answer implies that its statement is counted.
    pub fn executions(&self, text: &str) -> usize {
        let reads = |sql: &&String| !sql.contains(" ON false)") && !sql.ends_with(" bear_tree WHERE false");
        self.executed().iter().filter(|sql| sql.contains(text)).filter(reads).count()
    }

    /// The statements executed in this database, oldest first.
    pub fn executed(&self) -> Vec<String> {
        self.log()
            .into_iter()
            .filter_map(|entry| {
                let sql = match entry.strip_prefix("LOG:  statement: ") {
                    Some(sql) => sql,
                    // `execute fetch from` continues one that is counted already.
                    None => {
                        entry
                            .strip_prefix("LOG:  execute ")
                            .filter(|rest| !rest.starts_with("fetch from"))?
                            .split_once(": ")?
                            .1
                    }
                };
                let verb = sql.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
                (!["PREPARE", "EXPLAIN", "DEALLOCATE"].contains(&verb.as_str())).then(|| sql.to_owned())
            })
            .collect()
    }

    /// The server's messages about this database, each with its continuation lines.
    pub fn log(&self) -> Vec<String> {
        let own = format!("{}|", self.name);
        let mut entries: Vec<String> = Vec::new();
        let mut is_own = false;
        for line in self.postgres.log().lines() {
            if let Some(continuation) = line.strip_prefix('\t') {
                if let (true, Some(entry)) = (is_own, entries.last_mut()) {
                    entry.push('\n');
                    entry.push_str(continuation);
                }
                continue;
            }
            is_own = line.starts_with(&own);
            if let (true, Some((_, message))) = (is_own, line[own.len().min(line.len())..].split_once('|')) {
                entries.push(message.to_owned());
            }
        }
        entries
    }

    /// Closes a new gate. Who stands before an earlier one stays there.
    pub fn close_gate(&self) -> Gate {
        let mut holder = self.client();
        let number: i32 = holder.query_one("SELECT number + 1 FROM closed_gate", &[]).expect("a row").get(0);
        holder.execute("SELECT pg_advisory_lock($1, $2)", &[&GATE_LOCK, &number]).expect("the gate closes");
        holder.execute("UPDATE closed_gate SET number = $1", &[&number]).expect("everybody is sent there");
        Gate { holder, looker: self.client(), number }
    }

    /// Sessions of others in this database, the test's own left out.
    pub fn sessions(&self) -> i64 {
        self.client()
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'test'",
                &[],
            )
            .expect("pg_stat_activity")
            .get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A cluster of the test's own goes as a whole.
        if self.postgres.port() == Postgres::shared().port() && !std::thread::panicking() {
            run(&mut self.postgres.client(SUPERUSER), &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

impl Gate {
    /// Waits until exactly so many queries stand before this gate.
    #[track_caller]
    pub fn wait(&mut self, count: i64) {
        let (number, looker) = (self.number, &mut self.looker);
        eventually(&format!("{count} queries stand before gate {number}"), || waiting(looker, number) == count);
    }

    /// How many queries stand before this gate.
    pub fn waiting(&mut self) -> i64 {
        waiting(&mut self.looker, self.number)
    }

    /// Lets them go on, and who comes later too.
    pub fn open(mut self) {
        self.holder.execute("SELECT pg_advisory_unlock_all()", &[]).expect("the gate opens");
    }
}

fn waiting(client: &mut Client, number: i32) -> i64 {
    client
        .query_one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = $1::int4::oid
             AND objid = $2::int4::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[&GATE_LOCK, &number],
        )
        .expect("pg_locks")
        .get(0)
}

#[track_caller]
fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in {sql}"));
}
