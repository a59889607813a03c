//! What a snapshot of Postgres sees, as `pg_current_snapshot()` spells it: `xmin:xmax:xip,xip`.
//!
//! Between two snapshots exactly those transactions became visible that the second sees and the first did not: those under way
//! at the first that have ended since, and those that began later. So a reader that has read all that one snapshot sees asks, at
//! the next, for two ranges of transaction ids: neither a number nor a time of a row says when its transaction was committed.

use std::fmt::Write;

use smallvec::SmallVec;

/// Transactions below `xmax` that are not in `under_way` have ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// Ascending, between the two.
    under_way: SmallVec<[u64; 8]>,
}

impl Snapshot {
    /// None: it is no snapshot.
    pub fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next()?;
        let under_way: Option<SmallVec<[u64; 8]>> =
            list.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok()).collect();
        let under_way = under_way?;
        let is_in_order = under_way.windows(2).all(|pair| pair[0] < pair[1]);
        let is_between = under_way.iter().all(|xid| (xmin..xmax).contains(xid));
        (xmin <= xmax && is_in_order && is_between && parts.next().is_none()).then_some(Snapshot {
            xmin,
            xmax,
            under_way,
        })
    }

    /// Has the transaction ended before it was taken? Postgres itself goes by it.
    #[cfg(test)]
    fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.under_way.binary_search(&xid).is_err())
    }

    /// Later transactions have at least this id.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions that were under way, as an array of Postgres: `{5,7}`.
    pub fn under_way(&self) -> String {
        let mut text = String::from("{");
        for (at, xid) in self.under_way.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(text, "{}{xid}", if at == 0 { "" } else { "," });
        }
        text.push('}');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn snapshots_are_read_as_postgres_spells_them() {
        let snapshot = Snapshot::parse("10:20:10,14").expect("one");
        let seen: Vec<u64> = (8..23).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        assert_eq!((snapshot.xmax(), snapshot.under_way()), (20, "{10,14}".into()));
        assert_eq!(Snapshot::parse("7:7:").map(|snapshot| snapshot.under_way()), Some("{}".into()));
        for text in
            ["", "1", "1:2", "2:1:", "1:5:7", "3:5:2", "1:5:3,2", "1:5:2,2", "1:5:x", "1:5::", "-1:5:", "1:5:2:3"]
        {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }

    proptest! {
        /// Transactions begin and end in any order; whoever looks now and then is told of each that is committed, once.
        #[test]
        fn each_transaction_is_new_once(steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>()), 1..80)) {
            let (mut next, mut open, mut ended) = (100_u64, BTreeSet::new(), BTreeSet::new());
            let (mut before, mut told) = (Snapshot::parse("100:100:").unwrap(), BTreeSet::new());
            for (step, which) in steps {
                match step {
                    0 => {
                        open.insert(next);
                        next += 1;
                    }
                    1 if !open.is_empty() => {
                        let xid = *open.iter().nth(which.index(open.len())).unwrap();
                        open.remove(&xid);
                        ended.insert(xid);
                    }
                    _ => {
                        let xmin = open.first().copied().unwrap_or(next);
                        let list: Vec<String> = open.iter().map(u64::to_string).collect();
                        let now = Snapshot::parse(&format!("{xmin}:{next}:{}", list.join(","))).unwrap();
                        let asked = |xid: u64| xid >= before.xmax() || before.under_way().trim_matches(['{', '}']).split(',').any(|of| of == xid.to_string());
                        for xid in ended.iter().copied().filter(|xid| asked(*xid) && now.sees(*xid)) {
                            prop_assert!(!before.sees(xid) && told.insert(xid));
                        }
                        prop_assert_eq!(&told, &ended);
                        before = now;
                    }
                }
            }
        }
    }
}
