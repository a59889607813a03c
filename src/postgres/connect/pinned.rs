//! Settings that a role, a database or another client of a pooler may have made, and that decide what a statement
//! means, what its values look like or how long it may take: pinned on every connection, whatever ALTER ROLE says.
//!
//! Left alone is what the application has chosen for its own results and pace: search_path, the locale (lc_monetary
//! and so on), work_mem, the planner's switches, default_tablespace. docs/operation/postgres.md says so.

use super::settings::Settings;

/// Of a transaction in which nothing but statements of the module's own runs. Elsewhere these run under the path of the
/// application, and name the schema of every function, operator and type themselves.
pub(in crate::postgres) const OWN_PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp;";

/// How long the settings are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Scope {
    /// As long as the connection.
    Session,
    /// Until the transaction's end: a pooler may give the connection to somebody else then.
    Transaction,
}

/// Versions of Postgres that know a setting, from this one on.
const ALWAYS: u32 = 0;

/// Name, value, and the version that brought it.
const PINNED: [(&str, &str, u32); 17] = [
    ("transaction_timeout", "0", 17),
    // What values look like.
    ("TimeZone", "'UTC'", ALWAYS),
    ("DateStyle", "'ISO, YMD'", ALWAYS),
    ("IntervalStyle", "'postgres'", ALWAYS),
    ("bytea_output", "'hex'", ALWAYS),
    ("extra_float_digits", "1", ALWAYS),
    ("xmlbinary", "'base64'", ALWAYS),
    ("quote_all_identifiers", "off", ALWAYS),
    // What statements and parameters mean.
    ("standard_conforming_strings", "on", ALWAYS),
    ("backslash_quote", "safe_encoding", ALWAYS),
    ("array_nulls", "on", ALWAYS),
    ("transform_null_equals", "off", ALWAYS),
    ("xmloption", "content", ALWAYS),
    ("row_security", "on", ALWAYS),
    // JIT is chosen by estimated cost and takes 10 to 100 ms at each execution of queries that are otherwise done.
    ("jit", "off", ALWAYS),
    ("plan_cache_mode", "auto", ALWAYS),
    // An error is a job's or a query's, and no reason to end the connection.
    ("exit_on_error", "off", ALWAYS),
];

/// The same for what lasts longer than a transaction, or is said by BEGIN.
const PINNED_FOR_SESSION: [(&str, &str, u32); 3] = [
    ("idle_session_timeout", "0", 14),
    ("default_transaction_isolation", "'read committed'", ALWAYS),
    ("default_transaction_deferrable", "off", ALWAYS),
];

/// Ordinary triggers and foreign keys are skipped in another mode than this. Only a superuser sets it, for itself or
/// for others; what was decided for a role that may not is left.
const REPLICATION_ROLE: &str =
    "SELECT CASE WHEN pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on' \
    AND pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'origin' \
    THEN pg_catalog.set_config('session_replication_role', 'origin', {local}) END; ";

/// Statements that pin them. `version` is the server's, such as 15.
pub(in crate::postgres) fn pinned(settings: &Settings, scope: Scope, version: u32) -> String {
    let (set, local) = match scope {
        Scope::Session => ("SET", false),
        Scope::Transaction => ("SET LOCAL", true),
    };
    let timeout_ms = settings.statement_timeout_ms();
    // First, for what is in force until then may be next to nothing.
    let mut sql = format!(
        "{set} statement_timeout = {timeout_ms}; {set} lock_timeout = {timeout_ms}; \
         {set} idle_in_transaction_session_timeout = {}; ",
        timeout_ms + 5000
    );
    let for_session: &[_] = if local { &[] } else { &PINNED_FOR_SESSION };
    for (name, value, since) in PINNED.iter().chain(for_session) {
        if version >= *since {
            sql.push_str(&format!("{set} {name} = {value}; "));
        }
    }
    sql.push_str(&REPLICATION_ROLE.replace("{local}", if local { "true" } else { "false" }));
    if let Some(path) = &settings.search_path {
        // As a value, not as part of the statement: the setting's own parser reads it.
        let path = path.replace('\'', "''");
        sql.push_str(&format!("SELECT pg_catalog.set_config('search_path', '{path}', {local}); "));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::UrlSource;

    #[test]
    fn a_server_is_asked_for_no_setting_that_it_does_not_know() {
        let settings = Settings::new("host=h", UrlSource::Config);
        for (version, knows) in [(13, (false, false)), (14, (true, false)), (17, (true, true))] {
            let sql = pinned(&settings, Scope::Session, version);
            assert_eq!((sql.contains("idle_session_timeout = 0"), sql.contains(" transaction_timeout = 0")), knows);
        }
    }

    #[test]
    fn nothing_outlives_a_transaction_of_a_pooler() {
        let settings = Settings { search_path: Some("a'b".into()), ..Settings::new("host=h", UrlSource::Config) };
        let sql = pinned(&settings, Scope::Transaction, 17);
        assert!(sql.contains("set_config('search_path', 'a''b', true)"), "{sql}");
        for statement in sql.split("; ").filter(|statement| !statement.is_empty()) {
            let is_local = statement.starts_with("SET LOCAL ") || statement.ends_with("true)");
            assert!(is_local || statement.ends_with("true) END"), "{statement}");
        }
    }
}
