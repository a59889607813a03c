//! What the list says of a figure.

use std::borrow::Cow;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// In INFO, after `bear_`.
    pub name: &'static str,
    pub kind: Kind,
    unit: Unit,
    /// Has each section its own, of all its tenants together? INFO has their sum.
    pub by_section: bool,
    shown: Shown,
    /// One sentence.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
    Text,
}

/// Of the number in INFO; series are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    One,
    Millis,
    Micros,
}

/// How Prometheus has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Under its own name, with the unit that it has there.
    Named,
    As(&'static str),
    /// A gauge for each of these values, which is 1 for the one that holds; with the name of the label.
    States(&'static str, &'static [&'static str]),
    /// A series that is always 1, and its label.
    Label(&'static str, &'static str),
    /// Not at all, and why.
    Hidden(&'static str),
}

/// What a figure is in Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Series {
    Number(Cow<'static, str>),
    States { name: Cow<'static, str>, label: &'static str, values: &'static [&'static str] },
    Info { name: Cow<'static, str>, label: &'static str },
    None { why: &'static str },
}

impl Metric {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Metric {
        Metric { name, kind, unit: Unit::One, by_section: false, shown: Shown::Named, help }
    }

    pub const fn counter(name: &'static str, help: &'static str) -> Metric {
        Metric::new(name, Kind::Counter, help)
    }

    pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
        Metric::new(name, Kind::Gauge, help)
    }

    /// INFO has no line of it.
    pub const fn histogram(name: &'static str, help: &'static str) -> Metric {
        Metric::new(name, Kind::Histogram, help)
    }

    pub const fn states(
        name: &'static str,
        label: &'static str,
        values: &'static [&'static str],
        help: &'static str,
    ) -> Metric {
        Metric { shown: Shown::States(label, values), ..Metric::new(name, Kind::Text, help) }
    }

    /// A text that is the label of a series; that is called `bear_SERIES_info`.
    pub const fn label(
        name: &'static str,
        (series, label): (&'static str, &'static str),
        help: &'static str,
    ) -> Metric {
        Metric { shown: Shown::Label(series, label), ..Metric::new(name, Kind::Text, help) }
    }

    /// A text that Prometheus does not have, and why.
    pub const fn text(name: &'static str, why: &'static str, help: &'static str) -> Metric {
        Metric { shown: Shown::Hidden(why), ..Metric::new(name, Kind::Text, help) }
    }

    /// INFO has it in milliseconds; its name ends so.
    pub const fn in_ms(self) -> Metric {
        Metric { unit: Unit::Millis, ..self }
    }

    pub const fn in_us(self) -> Metric {
        Metric { unit: Unit::Micros, ..self }
    }

    pub const fn of_section(self) -> Metric {
        Metric { by_section: true, ..self }
    }

    /// Its name in Prometheus, without `bear_` and `_total`.
    pub const fn named(self, name: &'static str) -> Metric {
        Metric { shown: Shown::As(name), ..self }
    }

    pub const fn hidden(self, why: &'static str) -> Metric {
        Metric { shown: Shown::Hidden(why), ..self }
    }

    /// As Prometheus has it; of a counter without `_total`, which its encoding adds.
    pub fn series(&self) -> Series {
        match self.shown {
            Shown::Named => Series::Number(self.own_series()),
            Shown::As(name) => Series::Number(format!("bear_{name}").into()),
            Shown::States(label, values) => Series::States { name: self.own_series(), label, values },
            Shown::Label(series, label) => Series::Info { name: format!("bear_{series}").into(), label },
            Shown::Hidden(why) => Series::None { why },
        }
    }

    fn own_series(&self) -> Cow<'static, str> {
        let suffix = match self.unit {
            Unit::One => return format!("bear_{}", self.name).into(),
            Unit::Millis => "_ms",
            Unit::Micros => "_us",
        };
        format!("bear_{}_seconds", self.name.trim_end_matches(suffix)).into()
    }

    /// The number of INFO in the unit of the series; None: it is the same.
    pub fn scaled(&self, value: u64) -> Option<f64> {
        match self.unit {
            Unit::One => None,
            // Divided, so that 5 ms are 0.005 and not a little beside it.
            Unit::Millis => Some(value as f64 / 1e3),
            Unit::Micros => Some(value as f64 / 1e6),
        }
    }
}
