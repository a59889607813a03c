//! The time zone that statements have elsewhere: bear's own sessions are in UTC (`connect::pinned`).

use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

/// What a session has that sets nothing: of the server, the database or the role.
const ZONE: &str = "SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'TimeZone'";

/// Names of no difference to UTC.
const UTC: [&str; 10] =
    ["utc", "etc/utc", "uct", "etc/uct", "gmt", "etc/gmt", "gmt0", "zulu", "universal", "etc/universal"];

/// None: UTC.
pub(super) fn time_zone(client: &mut Client) -> Result<Option<Box<str>>, Failure> {
    let rows = client.query_typed(ZONE, &[])?;
    let zone: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(zone.filter(|zone| !UTC.contains(&&*zone.to_ascii_lowercase())).map(Into::into))
}
