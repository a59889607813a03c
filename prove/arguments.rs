//! What the program is told: two words, and three variables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::run::Feed;
use super::{never, Options};

const USAGE: &str = "usage: prove [--json] CATALOG URL, such as: prove shop.toml postgres://app@localhost/shop
       make prove CATALOG=shop.toml DATABASE_URL=postgres://app@localhost/shop";

/// `variable` reads the environment. One that is empty says nothing.
pub fn options(words: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Options, String> {
    let [file, url] = words else { return Err(USAGE.to_owned()) };
    let said = |name: &str| variable(name).filter(|text| !text.is_empty());
    let minutes = said("MINUTES").map_or(Ok(1.0), |text| {
        let minutes = text.parse().ok().filter(|minutes| (0.01..=1440.0).contains(minutes));
        minutes.ok_or_else(|| format!("MINUTES is a number from 0.01 to 1440, and not '{text}'"))
    })?;
    let by_chance =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64 % 1_000_000);
    let seed = said("SEED").map_or_else(
        || Ok(by_chance()),
        |text| text.parse().map_err(|_| format!("SEED is a whole number, and not '{text}'")),
    )?;
    let feeds = said("FEEDS").unwrap_or_else(|| "wal,outbox,off".to_owned());
    let feeds = feeds.split(',').map(feed).collect::<Result<Vec<Feed>, String>>()?;
    let catalog =
        std::fs::read_to_string(file).map_err(|error| format!("the catalog {file} cannot be read: {error}"))?;
    let time = Duration::from_secs_f64(60.0 * minutes);
    Ok(Options { catalog, url: url.clone(), time, seed, feeds, mutation: None, enough: never })
}

fn feed(name: &str) -> Result<Feed, String> {
    let known = [Feed::Wal, Feed::Outbox, Feed::Off];
    let found = known.into_iter().find(|feed| feed.name() == name.trim());
    found.ok_or_else(|| format!("FEEDS is of wal, outbox and off, and not '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Options, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        options(&words, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/catalogs/bear.toml");
        for (words, variables, expected) in [
            (vec![], vec![], "usage: prove"),
            (vec![file], vec![], "usage: prove"),
            (vec!["no-such-file.toml", "url"], vec![], "no-such-file.toml cannot be read"),
            (vec![file, "url"], vec![("MINUTES", "soon")], "MINUTES is a number from 0.01 to 1440, and not 'soon'"),
            (vec![file, "url"], vec![("MINUTES", "0")], "MINUTES is a number"),
            (vec![file, "url"], vec![("SEED", "-1")], "SEED is a whole number, and not '-1'"),
            (vec![file, "url"], vec![("FEEDS", "wal,mail")], "FEEDS is of wal, outbox and off, and not 'mail'"),
        ] {
            let said = read(&words, &variables).err().unwrap_or_else(|| panic!("{words:?} {variables:?} is taken"));
            assert!(said.contains(expected), "{said}");
        }
        let read = read(&[file, "url"], &[("MINUTES", "0.5"), ("SEED", "7"), ("FEEDS", "outbox")]).unwrap();
        assert_eq!((read.time.as_secs(), read.seed, read.feeds), (30, 7, vec![Feed::Outbox]));
    }
}
