//! Which transactions a new snapshot of Postgres sees, which are in progress, and places in the WAL.

/// For [`in_progress`]: a snapshot; an id of our own, which is newer than all that had begun by the snapshot (it lists only
/// those older than the newest that had ended); ids without their epoch that other databases have, whose changes are
/// nobody's here and whose end no stream of this database tells.
pub(super) const IN_PROGRESS: &str =
    "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, pg_catalog.pg_current_xact_id()::pg_catalog.text, \
    (SELECT pg_catalog.string_agg(others.xid, ',') FROM (\
        SELECT a.backend_xid::pg_catalog.text FROM pg_catalog.pg_stat_activity a \
            JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
            WHERE a.backend_xid IS NOT NULL AND a.datid OPERATOR(pg_catalog.<>) d.oid \
        UNION ALL SELECT p.transaction::pg_catalog.text FROM pg_catalog.pg_prepared_xacts p \
            WHERE p.database OPERATOR(pg_catalog.<>) pg_catalog.current_database()) others (xid))";

/// The snapshot, and the transactions of this database that may have been in progress: what [`IN_PROGRESS`] brings.
pub(super) fn in_progress(row: &[String; 3]) -> Option<(Snapshot, Vec<u64>)> {
    let [snapshot, newest, others] = row;
    let snapshot = Snapshot::parse(snapshot)?;
    let others: Vec<u64> = others.split(',').filter_map(|xid| Some(snapshot.with_epoch(xid.parse().ok()?))).collect();
    let mut xids = snapshot.in_progress_before(newest.parse().ok()?);
    xids.retain(|xid| !others.contains(xid));
    Some((snapshot, xids))
}

/// `pg_current_snapshot()`; transaction ids with their epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// All before it have ended.
    xmin: u64,
    /// None from it on has.
    xmax: u64,
    /// In between, those that have not; top-level transactions only.
    in_progress: Vec<u64>,
}

impl Snapshot {
    /// Of `xmin:xmax:xip,…`.
    pub(super) fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let in_progress = parts
            .next()?
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(|xid| xid.parse().ok())
            .collect::<Option<_>>()?;
        Some(Snapshot { xmin, xmax, in_progress })
    }

    /// Has the transaction ended for those who look now?
    pub(super) fn has_ended(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.in_progress.contains(&xid))
    }

    /// Transactions that may have been in progress, where `newest` had not begun.
    fn in_progress_before(&self, newest: u64) -> Vec<u64> {
        self.in_progress.iter().copied().chain(self.xmax..newest).collect()
    }

    /// The id with its epoch of a transaction that began before the snapshot, or while its WAL was on its way here.
    pub(super) fn with_epoch(&self, xid: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        let near = (self.xmax & !(EPOCH - 1)) | u64::from(xid);
        // The nearest to xmax: none is in use that is further than half an epoch from it.
        if near > self.xmax + EPOCH / 2 {
            near.saturating_sub(EPOCH)
        } else if near + EPOCH / 2 < self.xmax {
            near + EPOCH
        } else {
            near
        }
    }
}

/// `16/B374D848`.
pub(super) fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_postgres_writes() {
        let snapshot = Snapshot::parse("10:14:10,12").unwrap();
        let ended: Vec<u64> = (8..16).filter(|xid| snapshot.has_ended(*xid)).collect();
        assert_eq!(ended, [8, 9, 11, 13]);
        assert_eq!(snapshot.in_progress_before(16), [10, 12, 14, 15]);
        assert_eq!(Snapshot::parse("10:10:").unwrap().in_progress, Vec::<u64>::new());
        for wrong in ["", "1", "1:2", "1:2:x", "a:2:"] {
            assert_eq!(Snapshot::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn transactions_of_other_databases_are_not_waited_for() {
        let of = |snapshot: &str, newest: &str, others: &str| {
            in_progress(&[snapshot.to_owned(), newest.to_owned(), others.to_owned()]).map(|(_, xids)| xids)
        };
        assert_eq!(of("10:14:10,12", "16", ""), Some(vec![10, 12, 14, 15]));
        assert_eq!(of("10:14:10,12", "16", "12,15,99"), Some(vec![10, 14]));
        assert_eq!(of("4294967300:4294967304:4294967301", "4294967305", "5,8"), Some(vec![]));
        assert_eq!(of("x", "16", ""), None);
        assert_eq!(of("10:14:", "", ""), None);
    }

    #[test]
    fn epochs_are_those_near_the_snapshot() {
        const EPOCH: u64 = 1 << 32;
        for (xmax, xid, expected) in [
            (100, 7, 7),
            (100, 100, 100),
            (EPOCH + 5, 4, EPOCH + 4),
            (EPOCH + 5, u32::MAX, EPOCH - 1),
            (3 * EPOCH - 2, 5, 3 * EPOCH + 5),
            (3 * EPOCH + 2, u32::MAX - 1, 3 * EPOCH - 2),
        ] {
            let snapshot = Snapshot { xmin: xmax, xmax, in_progress: vec![] };
            assert_eq!(snapshot.with_epoch(xid), expected, "{xmax} {xid}");
        }
    }

    #[test]
    fn places_in_the_wal() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(parse_lsn("0/0"), Some(0));
        for wrong in ["", "16", "x/1", "1/100000000"] {
            assert_eq!(parse_lsn(wrong), None, "{wrong}");
        }
    }
}
