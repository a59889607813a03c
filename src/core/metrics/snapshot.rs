//! All figures at one moment, or nearly: they are gathered in slices.

use std::collections::BTreeMap;

use super::figures::Figures;
use super::health::Health;
use super::histogram::Histogram;

#[derive(Debug, Default)]
pub struct Snapshot {
    /// Of the server.
    pub figures: Figures,
    /// Histograms of the server.
    pub histograms: Vec<(&'static str, Histogram)>,
    pub sections: BTreeMap<Box<str>, OfSection>,
    pub health: Health,
}

/// What a section has, its tenants together.
#[derive(Debug, Default)]
pub struct OfSection {
    pub figures: Figures,
    /// Without those that have counted nothing.
    pub histograms: Vec<(&'static str, Histogram)>,
}

impl OfSection {
    pub fn histogram(&mut self, name: &'static str, histogram: &Histogram) {
        if histogram.count() > 0 {
            self.histograms.push((name, *histogram));
        }
    }
}
