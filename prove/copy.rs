//! A copy of somebody's schema in a Postgres of our own: nothing is written to theirs, and sessions there may not write.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postgres::Client;

use crate::support::postgres::{choose_programs, SUPERUSER};
use crate::support::{guardian, Postgres};

use super::answers;
use super::programs::{Places, Programs};
use super::sql::{quote, quote_name, rows};

/// The database that has the schema and no rows.
const EMPTY: &str = "prove_empty";

pub struct Copy {
    postgres: Postgres,
    /// What is not as it is there: objects that could not be restored, tables that the role may not read.
    pub skipped: Vec<String>,
}

/// Objects that are told of one by one.
const TOLD: usize = 30;

impl Copy {
    /// The error says what would help.
    pub fn make(url: &str) -> Result<Copy, String> {
        let places = Places::of_this_machine();
        let psql = Psql { program: places.psql()?, url };
        let version =
            psql.ask("SHOW server_version_num").map_err(|why| format!("the database cannot be reached: {why}"))?;
        let version: u32 =
            version.trim().parse().map_err(|_| format!("it is no Postgres: it is of version '{version}'"))?;
        let theirs = version / 10_000;
        let programs = places.programs(theirs)?;
        let ours = programs.major;
        let mut skipped = Vec::new();
        if ours != theirs {
            skipped.push(format!(
                "the server is Postgres {theirs}: it is tried on Postgres {ours}, which is what is installed here"
            ));
        }
        let dump = guardian::folder("dump").join("schema");
        let excluded = unreadable(&psql, &mut skipped)?;
        dump_schema(&programs, url, &dump, &excluded)?;
        choose_programs(&programs.server);
        let postgres = Postgres::start_quiet();
        create(&postgres, &psql, &mut skipped)?;
        restore(&programs, &postgres, &dump, &mut skipped)?;
        Ok(Copy { postgres, skipped })
    }

    /// The copy, without rows.
    pub fn empty(&self) -> Result<Client, String> {
        self.client(EMPTY)
    }

    pub fn client(&self, database: &str) -> Result<Client, String> {
        answers::connect(&self.url(database)).map_err(|error| error.to_string())
    }

    pub fn url(&self, database: &str) -> String {
        self.postgres.url_through(self.postgres.port(), database)
    }

    /// Another database like this one; None: like the empty one.
    pub fn database(&self, name: &str, like: Option<&str>) -> Result<(), String> {
        let sql = format!("CREATE DATABASE {} TEMPLATE {}", quote_name(name), quote_name(like.unwrap_or(EMPTY)));
        let client = self.client(SUPERUSER);
        let mut client = client.map_err(|why| format!("the Postgres of the copy does not answer: {why}"))?;
        client.batch_execute(&sql).map_err(|error| super::sql::said(&error))
    }

    pub fn drop_database(&self, name: &str) {
        // The whole server goes at the end, if it has not gone already.
        if let Ok(mut client) = self.client(SUPERUSER) {
            let _ = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote_name(name)));
        }
    }
}

fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env("PGCONNECT_TIMEOUT", "10").env("LC_ALL", "C");
    // Whatever the URL's role may do.
    command.env("PGOPTIONS", "-c default_transaction_read_only=on");
    match command.output() {
        Err(error) => Err(format!("{name} cannot be run: {error}; install Postgres' client programs")),
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(text.lines().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>().join(" "))
        }
    }
}

/// Their database is asked by psql, which knows all that a URL may say.
struct Psql<'a> {
    program: PathBuf,
    url: &'a str,
}

impl Psql<'_> {
    fn ask(&self, sql: &str) -> Result<String, String> {
        let words = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", sql];
        let output = run(Command::new(&self.program).args(words))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// As patterns of pg_dump, which fails as a whole at a table that it may not read.
fn unreadable(psql: &Psql<'_>, skipped: &mut Vec<String>) -> Result<Vec<String>, String> {
    let sql = "SELECT n.nspname || E'\\t' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bear') AND n.nspname NOT LIKE 'pg\\_%'
        AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1";
    let names = psql.ask(sql)?;
    let names: Vec<(&str, &str)> = names.lines().filter_map(|line| line.split_once('\t')).collect();
    for (schema, name) in &names {
        skipped.push(format!("the role may not read {schema}.{name}: it is left out, with what needs it"));
    }
    Ok(names.iter().map(|(schema, name)| format!("{}.{}", quote_name(schema), quote_name(name))).collect())
}

fn dump_schema(programs: &Programs, url: &str, file: &Path, excluded: &[String]) -> Result<(), String> {
    let mut command = Command::new(&programs.pg_dump);
    command.args([
        "--format=custom",
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--no-publications",
        "--no-subscriptions",
    ]);
    command.args([
        "--no-security-labels",
        "--no-tablespaces",
        "--no-comments",
        "--exclude-schema=bear",
        "--lock-wait-timeout=10s",
    ]);
    command.args(excluded.iter().map(|pattern| format!("--exclude-table={pattern}")));
    command.arg("--file").arg(file).args(["--dbname", url]);
    run(&mut command).map(drop).map_err(|why| format!("the schema cannot be read: {why}"))
}

/// As theirs is: how texts sort, and where names are looked up.
fn create(postgres: &Postgres, psql: &Psql<'_>, skipped: &mut Vec<String>) -> Result<(), String> {
    let mut admin = postgres.client(SUPERUSER);
    let locale =
        psql.ask("SELECT datcollate || E'\\t' || datctype FROM pg_database WHERE datname = current_database()")?;
    let path = psql.ask("SHOW search_path")?;
    let (collate, ctype) = locale.trim().split_once('\t').unwrap_or(("C", "C"));
    let create = format!("CREATE DATABASE {EMPTY} TEMPLATE template0");
    let like_theirs = format!("{create} LC_COLLATE {} LC_CTYPE {}", quote(collate), quote(ctype));
    if admin.batch_execute(&like_theirs).is_err() {
        skipped.push(format!("the locale {collate} is not installed here: texts sort as in C"));
        admin.batch_execute(&create).map_err(|error| super::sql::said(&error))?;
    }
    let set = format!("ALTER ROLE {SUPERUSER} SET search_path = {}", path.trim());
    if !path.trim().is_empty() && admin.batch_execute(&set).is_err() {
        skipped.push(format!("the search_path {} cannot be set here", path.trim()));
    }
    Ok(())
}

/// Object by object: one that cannot be restored takes with it what needs it, and nothing else.
fn restore(programs: &Programs, postgres: &Postgres, dump: &Path, skipped: &mut Vec<String>) -> Result<(), String> {
    // By --verbose it says which object a failure is of.
    let mut command = Command::new(&programs.pg_restore);
    command
        .args(["--verbose", "--no-owner", "--no-privileges", "--dbname", &postgres.url_through(postgres.port(), EMPTY)])
        .arg(dump);
    let output = command.env("LC_ALL", "C").output().map_err(|error| format!("pg_restore cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if let Some(why) = text.lines().find_map(broken_off) {
        return Err(format!("the schema cannot be restored: {why}"));
    }
    let failed = failures(&text);
    let more = failed.len().saturating_sub(TOLD);
    skipped.extend(failed.into_iter().take(TOLD));
    if more > 0 {
        skipped.push(format!("{more} more objects cannot be restored here"));
    }
    let mut client =
        answers::connect(&postgres.url_through(postgres.port(), EMPTY)).map_err(|error| error.to_string())?;
    // Superusers are not held to it, and nobody else reads the copy.
    let forced = rows(&mut client, "SELECT count(*) FROM pg_class WHERE relrowsecurity")
        .map_err(|error| super::sql::said(&error))?;
    if forced.first().is_some_and(|row| row[0].as_deref() != Some("0")) {
        skipped.push("row security holds nobody back in the copy: policies are not tried".to_owned());
    }
    Ok(())
}

/// What it says once it can do nothing at all.
fn broken_off(line: &str) -> Option<&str> {
    let (_, why) = line.split_once("pg_restore: error: ")?;
    (!why.starts_with("could not execute query")).then_some(why)
}

/// Of what pg_restore says: each object, and why it is not there.
fn failures(text: &str) -> Vec<String> {
    let mut object = "";
    let mut failed = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("from TOC entry ") {
            // `220; 1259 16399 TABLE public places owner`
            object = rest.splitn(4, ' ').nth(3).unwrap_or(rest);
        }
        let Some((_, why)) = line.split_once("error: could not execute query: ERROR:") else { continue };
        // A newer pg_dump sets what an older server does not know, for the time of the restoring alone.
        let is_setting = why.contains("unrecognized configuration parameter");
        if !why.contains("schema \"public\" already exists") && !is_setting {
            failed.push(format!("not restored: {object}: {}", why.trim()));
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_restored_is_named_with_the_reason() {
        let text = "pg_restore: while PROCESSING TOC:\n\
            pg_restore: from TOC entry 2; 3079 16385 EXTENSION postgis (no owner)\n\
            pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available\nDETAIL:  x\nCommand was: CREATE EXTENSION\n\n\
            pg_restore: from TOC entry 6; 2615 2200 SCHEMA public owner\n\
            pg_restore: error: could not execute query: ERROR:  schema \"public\" already exists\n\
            pg_restore: warning: errors ignored on restore: 2\n";
        assert_eq!(
            failures(text),
            ["not restored: EXTENSION postgis (no owner): extension \"postgis\" is not available"]
        );
    }
}
