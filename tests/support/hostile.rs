//! Settings of a role or a database that would break whoever relied on the defaults: each at its worst.

use super::database::Database;

/// Known to each version that is tested.
const KNOWN_TO_ALL: [&str; 21] = [
    "statement_timeout = 200",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = 50",
    "default_transaction_isolation = serializable",
    "default_transaction_deferrable = on",
    "row_security = off",
    "standard_conforming_strings = off",
    "backslash_quote = off",
    "array_nulls = off",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "extra_float_digits = -15",
    "\"IntervalStyle\" = sql_standard",
    "\"DateStyle\" = 'SQL, DMY'",
    "\"TimeZone\" = 'Asia/Tokyo'",
    "bytea_output = escape",
    "xmlbinary = hex",
    "xmloption = document",
    "exit_on_error = on",
    "jit = on",
    "plan_cache_mode = force_generic_plan",
];

/// Known from a version on.
const KNOWN_TO_SOME: [(&str, &str); 2] =
    [("idle_session_timeout", "idle_session_timeout = 1000"), ("transaction_timeout", "transaction_timeout = 50")];

/// Makes them for `whom`, such as `ROLE app` or `DATABASE shop`: in force in sessions that begin later.
pub fn make_hostile(database: &Database, whom: &str) {
    // Quickly, and by one session: it may be among those concerned.
    let mut client = database.client();
    let is_known = |name: &str, client: &mut postgres::Client| {
        !client.query("SELECT FROM pg_settings WHERE name = $1", &[&name]).expect("pg_settings").is_empty()
    };
    let some = KNOWN_TO_SOME.into_iter().filter(|(name, _)| is_known(name, &mut client)).map(|(_, setting)| setting);
    let settings: Vec<&str> = KNOWN_TO_ALL.into_iter().chain(some.collect::<Vec<_>>()).collect();
    for setting in settings {
        let sql = format!("ALTER {whom} SET {setting}");
        client.batch_execute(&sql).unwrap_or_else(|error| panic!("{error:?} in {sql}"));
    }
}
