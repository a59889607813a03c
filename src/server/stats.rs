//! Figures for INFO and BEAR.EXPLAIN: counted on the main thread, by section.

use std::rc::Rc;

use hdrhistogram::Histogram;
use rustc_hash::FxHashMap;

use crate::core::metrics::histogram::Histogram as Buckets;

/// What has happened in one section, its tenants together, since the module was loaded.
#[derive(Default)]
pub struct SectionStats {
    /// Answered from the cache.
    pub hits: u64,
    /// Those of them that were answered with an entry beyond its TTL.
    pub stale_hits: u64,
    /// Fetches begun for nobody, at a hit on an entry at the end of its life.
    pub refreshes: u64,
    /// Fetches begun for nobody, for a change had dropped what was asked for lately.
    pub rewarmed: u64,
    /// Not in the cache: fetched, refused, or nil for CACHED.
    pub misses: u64,
    /// Misses that waited for a fetch which somebody else began.
    pub joined: u64,
    /// Fetches that brought a result.
    pub fills: u64,
    /// Fetches that failed.
    pub failed: u64,
    /// Results that were answered and not stored because an invalidation concerned them.
    pub struck: u64,
    /// Results that were answered and not stored for another reason: size, life, role, memory, policy.
    pub discarded: u64,
    /// Leases given: to compute a value.
    pub leased: u64,
    /// Those whose time was over before a value came, or that were given up.
    pub lease_ends: u64,
    /// Values that were put and stored.
    pub puts_stored: u64,
    /// Values that were put and not stored.
    pub puts_refused: u64,
    /// Results that were stored compressed, their bytes, and what those were stored as.
    pub compressed: u64,
    pub compressed_plain_bytes: u64,
    pub compressed_stored_bytes: u64,
    /// Hits that were decompressed aside.
    pub decompressed_aside: u64,
    /// Entries removed by invalidations of this section's rows, tags or calls.
    pub invalidated: u64,
    /// Rows that invalidations named.
    pub rows_invalidated: u64,
    pub fetch_us: FetchTimes,
}

/// Times of fetches in microseconds, to two digits, up to an hour. They take some thirty kilobytes, and none before the
/// first: a catalog may have thousands of sections. Beside them the buckets that Prometheus is shown.
#[derive(Default)]
pub struct FetchTimes {
    times: Option<Box<Histogram<u64>>>,
    pub buckets: Buckets,
}

impl FetchTimes {
    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.times.get_or_insert_with(|| {
            let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2);
            Box::new(histogram.expect("1 is below 3,600,000,000 and two digits are allowed"))
        })
    }

    pub fn record(&mut self, took_us: u64) {
        self.histogram().saturating_record(took_us);
        self.buckets.record_us(took_us);
    }

    fn at_quantile(&self, quantile: f64) -> u64 {
        self.times.as_ref().map_or(0, |times| times.value_at_quantile(quantile))
    }

    fn max(&self) -> u64 {
        self.times.as_ref().map_or(0, |times| times.max())
    }
}

impl SectionStats {
    /// All but the times of fetches.
    fn add(&mut self, other: &SectionStats) {
        self.hits += other.hits;
        self.stale_hits += other.stale_hits;
        self.refreshes += other.refreshes;
        self.rewarmed += other.rewarmed;
        self.misses += other.misses;
        self.joined += other.joined;
        self.fills += other.fills;
        self.failed += other.failed;
        self.struck += other.struck;
        self.discarded += other.discarded;
        self.leased += other.leased;
        self.lease_ends += other.lease_ends;
        self.puts_stored += other.puts_stored;
        self.puts_refused += other.puts_refused;
        self.compressed += other.compressed;
        self.compressed_plain_bytes += other.compressed_plain_bytes;
        self.compressed_stored_bytes += other.compressed_stored_bytes;
        self.decompressed_aside += other.decompressed_aside;
        self.invalidated += other.invalidated;
        self.rows_invalidated += other.rows_invalidated;
    }

    /// Names and values as INFO shows them.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.figures_with(&self.fetch_us)
    }

    /// What is counted, without times.
    pub fn counts(&self) -> [(&'static str, u64); 20] {
        [
            ("hits", self.hits),
            ("stale_hits", self.stale_hits),
            ("refreshes", self.refreshes),
            ("rewarmed", self.rewarmed),
            ("misses", self.misses),
            ("joined", self.joined),
            ("fills", self.fills),
            ("failed", self.failed),
            ("struck", self.struck),
            ("discarded", self.discarded),
            ("leased", self.leased),
            ("lease_ends", self.lease_ends),
            ("puts_stored", self.puts_stored),
            ("puts_refused", self.puts_refused),
            ("compressed", self.compressed),
            ("compressed_plain_bytes", self.compressed_plain_bytes),
            ("compressed_stored_bytes", self.compressed_stored_bytes),
            ("decompressed_aside", self.decompressed_aside),
            ("entries_invalidated", self.invalidated),
            ("rows_invalidated", self.rows_invalidated),
        ]
    }

    fn figures_with(&self, fetch_us: &FetchTimes) -> Vec<(&'static str, u64)> {
        let times = [
            ("fetch_us_p50", fetch_us.at_quantile(0.5)),
            ("fetch_us_p99", fetch_us.at_quantile(0.99)),
            ("fetch_us_max", fetch_us.max()),
        ];
        self.counts().into_iter().chain(times).collect()
    }
}

/// By the section's place in the catalog; a reload keeps the figures of sections that stay.
#[derive(Default)]
pub struct Stats {
    sections: Vec<(Rc<str>, SectionStats)>,
    /// Of all fetches.
    pub fetch_us: FetchTimes,
}

impl Stats {
    /// The figures of a section of the catalog that [`Stats::arrange`] was last told of.
    pub fn section(&mut self, index: usize) -> &mut SectionStats {
        &mut self.sections[index].1
    }

    /// Puts the figures in the order of a catalog's sections.
    pub fn arrange<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut old: FxHashMap<Rc<str>, SectionStats> = self.sections.drain(..).collect();
        self.sections = names.map(|name| (name.into(), old.remove(name).unwrap_or_default())).collect();
    }

    /// The section at a place, if there are so many.
    pub fn at(&self, index: usize) -> Option<(&str, &SectionStats)> {
        self.sections.get(index).map(|(name, stats)| (name.as_ref(), stats))
    }

    pub fn sections(&self) -> impl Iterator<Item = (&str, &SectionStats)> {
        self.sections.iter().map(|(name, stats)| (name.as_ref(), stats))
    }

    pub fn total(&self) -> Vec<(&'static str, u64)> {
        let mut total = SectionStats::default();
        for (_, stats) in &self.sections {
            total.add(stats);
        }
        total.figures_with(&self.fetch_us)
    }
}
