//! Time zones by their IANA names: as the system's database has them, or else the one that is built in.
//!
//! The library keeps what it has read, so that a look-up reads no file but when a zone is new or some minutes old.

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Longer names are no zone's.
const MAX_NAME: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: Box<str>,
    time_zone: TimeZone,
}

/// Has the library list the system's zones, which takes a millisecond: while the module is loaded, and not when a schedule is looked at.
pub fn list_zones() {
    let _ = Zone::find("Etc/UTC");
}

/// No zone is called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no time zone is called '{got}'; zones have IANA names, such as UTC or Europe/Berlin")]
pub struct ZoneError {
    got: Box<str>,
}

impl Zone {
    pub const UTC: &'static str = "UTC";

    pub fn utc() -> Zone {
        Zone { name: Zone::UTC.into(), time_zone: TimeZone::UTC }
    }

    /// In any case of its letters; the zone's name is as the database spells it.
    pub fn find(name: &str) -> Result<Zone, ZoneError> {
        if name.eq_ignore_ascii_case(Zone::UTC) {
            return Ok(Zone::utc());
        }
        let found = (name.len() <= MAX_NAME).then(|| {
            let of_system = jiff::tz::db().get(name);
            of_system.or_else(|_| TimeZoneDatabase::bundled().get(name)).ok()
        });
        // A zone that has no name of IANA's is the machine's own, which may be another tomorrow.
        let named = found.flatten().and_then(|time_zone| Some((time_zone.iana_name()?.into(), time_zone)));
        match named {
            Some((name, time_zone)) => Ok(Zone { name, time_zone }),
            None => Err(ZoneError { got: name.chars().take(MAX_NAME).collect() }),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_their_names() {
        for (name, spelled) in [
            ("UTC", "UTC"),
            ("utc", "UTC"),
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
            ("Etc/GMT+5", "Etc/GMT+5"),
        ] {
            assert_eq!(Zone::find(name).map(|zone| zone.name().to_owned()), Ok(spelled.to_owned()));
        }
        for wrong in ["", "Berlin", "CET-1CEST", "+02:00", "../../etc/passwd", "Europe/Berlin ", &"x".repeat(10_000)] {
            assert!(Zone::find(wrong).is_err(), "{wrong}");
        }
    }
}
