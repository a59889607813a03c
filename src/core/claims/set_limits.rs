//! Limits that BEAR.LIMITQUEUE has set, which go before the catalog's: fields of a hash, `concurrency`, `rate`, and of each
//! value of a field `by`, `by_concurrency`, `by_rate`. What is not set is the catalog's; 0 is no limit.

use crate::core::catalog::claim::{Limit, Limits, Rate};

/// Fields of the hash.
pub const NAMES: [&str; 5] = ["concurrency", "rate", "by", "by_concurrency", "by_rate"];

/// `Some(None)`: no limit, whatever the catalog says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Over {
    pub concurrency: Option<Option<u32>>,
    pub rate: Option<Option<Rate>>,
}

impl Over {
    fn set(&mut self, over: Over) {
        self.concurrency = over.concurrency.or(self.concurrency);
        self.rate = over.rate.or(self.rate);
    }

    fn over(&self, limit: &Limit) -> Limit {
        Limit { concurrency: self.concurrency.unwrap_or(limit.concurrency), rate: self.rate.unwrap_or(limit.rate) }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetLimits {
    all: Over,
    by: Option<(Box<str>, Over)>,
}

impl SetLimits {
    /// Sets what is given; `by` another field than the one set before takes the place of that.
    pub fn set(&mut self, by: Option<&str>, over: Over) {
        match (by, &mut self.by) {
            (None, _) => self.all.set(over),
            (Some(field), Some((known, of_value))) if **known == *field => of_value.set(over),
            (Some(field), by) => *by = Some((field.into(), over)),
        }
    }

    /// What is in force over a catalog.
    pub fn over(&self, catalog: &Limits) -> Limits {
        let by = match (&self.by, &catalog.by) {
            (None, by) => by.clone(),
            (Some((field, over)), Some((known, limit))) if field == known => Some((field.clone(), over.over(limit))),
            (Some((field, over)), _) => Some((field.clone(), over.over(&Limit::default()))),
        };
        Limits { all: self.all.over(&catalog.all), by: by.filter(|(_, limit)| *limit != Limit::default()) }
    }

    /// The fields to be in the hash; the others of [`NAMES`] are not.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        let mut write = |over: &Over, concurrency, rate| {
            let number = over.concurrency.map(|number| number.unwrap_or(0).to_string());
            let text = over.rate.map(|rate| rate.map_or_else(|| "0".to_owned(), |rate| rate.to_string()));
            fields.extend(number.map(|number| (concurrency, number)));
            fields.extend(text.map(|text| (rate, text)));
        };
        write(&self.all, "concurrency", "rate");
        if let Some((_, over)) = &self.by {
            write(over, "by_concurrency", "by_rate");
        }
        fields.extend(self.by.iter().map(|(field, _)| ("by", field.to_string())));
        fields
    }

    /// Reads the hash; what is no limit in it counts for nothing.
    pub fn read<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> SetLimits {
        let (mut all, mut of_value, mut by) = (Over::default(), Over::default(), None);
        for (name, value) in fields {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let number = || value.parse::<u32>().ok().map(|number| Some(number).filter(|number| *number > 0));
            let rate = || if value == "0" { Some(None) } else { Rate::parse(value).ok().map(Some) };
            match name {
                b"concurrency" => all.concurrency = number(),
                b"rate" => all.rate = rate(),
                b"by" => by = Some(value.into()),
                b"by_concurrency" => of_value.concurrency = number(),
                b"by_rate" => of_value.rate = rate(),
                _ => {}
            }
        }
        SetLimits { all, by: by.map(|field| (field, of_value)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SECOND: Rate = Rate { count: 80, per_ms: 1_000 };

    fn limit(concurrency: Option<u32>, rate: Option<Rate>) -> Limit {
        Limit { concurrency, rate }
    }

    fn over(concurrency: Option<Option<u32>>, rate: Option<Option<Rate>>) -> Over {
        Over { concurrency, rate }
    }

    #[test]
    fn what_is_set_goes_before_the_catalog() {
        let of_to = |field: &str, limit| Limits { all: limit, by: Some((field.into(), limit)) };
        let catalog = of_to("to", limit(Some(5), Some(PER_SECOND)));
        let mut set = SetLimits::default();
        assert_eq!(set.over(&catalog), catalog);
        set.set(None, over(Some(Some(7)), None));
        set.set(None, over(None, Some(None)));
        assert_eq!(set.over(&catalog).all, limit(Some(7), None));
        set.set(Some("to"), over(Some(None), None));
        assert_eq!(set.over(&catalog).by, Some(("to".into(), limit(None, Some(PER_SECOND)))));
        set.set(Some("to"), over(None, Some(None)));
        assert_eq!(set.over(&catalog).by, None, "no limit is left");
        set.set(Some("from"), over(Some(Some(1)), None));
        assert_eq!(set.over(&catalog).by, Some(("from".into(), limit(Some(1), None))));
    }

    #[test]
    fn limits_are_read_as_written() {
        let mut set = SetLimits::default();
        assert!(set.fields().is_empty());
        for (by, over) in [
            (None, over(Some(None), Some(Some(PER_SECOND)))),
            (Some("to"), over(Some(Some(3)), None)),
            (Some("to"), over(None, Some(None))),
        ] {
            set.set(by, over);
            let fields = set.fields();
            assert!(fields.iter().all(|(name, _)| NAMES.contains(name)));
            let read = SetLimits::read(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            assert_eq!(read, set);
        }
        let odd: [(&[u8], &[u8]); 4] =
            [(b"concurrency", b"many"), (b"rate", b"1"), (b"by_rate", b"5/s"), (b"later", b"1")];
        assert_eq!(SetLimits::read(odd.into_iter()), SetLimits::default());
    }
}
