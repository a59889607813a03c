//! Changes of which the WAL tells less than triggers do, and how many rows are all rows.

use super::*;

const SALON: &str = include_str!("../../../../../catalogs/salon.toml");
const SALON_SCHEMA: &str = include_str!("../../../../../schema/salon.sql");

#[test]
fn truncate_and_huge_transactions_are_all_rows() {
    let (database, followed) = items(FeedKind::Wal);
    database.run("INSERT INTO item SELECT i, i FROM generate_series(1, 1000) i");
    assert_eq!(followed.changes().len(), 1_000);
    database.run("UPDATE item SET size = 0; INSERT INTO item VALUES (0, 0)");
    assert_eq!(followed.changes(), ["item: all"]);
    database.run("TRUNCATE item");
    assert_eq!(followed.changes(), ["item: all"]);
}

#[test]
fn a_change_whose_old_tenant_is_not_told_may_have_been_of_any() {
    let database = database(SALON_SCHEMA);
    let followed = database.follow(SALON);
    let coverage = followed.connected();
    let booking = coverage.iter().find(|line| line.starts_with("booking")).unwrap();
    assert!(booking.contains("has no 'salon_id'") && booking.contains("REPLICA IDENTITY FULL"), "{booking}");
    let (salon, other, id) = (
        "00000000-0000-4000-8000-00000000000a",
        "00000000-0000-4000-8000-00000000000b",
        "00000000-0000-4000-8000-000000000001",
    );
    database
        .run(&format!("INSERT INTO booking VALUES ('{id}', '{salon}', '{other}', 'NEW', '2026-01-02 03:04:05+00', 5)"));
    let present = |salon: &str, status: &str| {
        format!(
            r#"{{{salon}}}booking {id}: {{"id":"{id}","customer_id":"{other}","status":"{status}","starts_at":"2026-01-02T03:04:05+00:00"}}"#
        )
    };
    assert_eq!(followed.changes(), [present(salon, "NEW")]);
    // It may have come from another salon.
    database.run("UPDATE booking SET status = 'DONE'");
    assert_eq!(followed.changes(), [present(salon, "DONE"), format!("{{former}}booking {id}")]);
    database.run("DELETE FROM booking");
    assert_eq!(followed.changes(), ["{?}booking: all"]);

    database.run("ALTER TABLE booking REPLICA IDENTITY FULL");
    let (coverage, cold) = followed.altered();
    assert!(coverage.contains(&"booking: covered".to_owned()), "{coverage:?}");
    assert_eq!(cold, ["booking"]);
    database
        .run(&format!("INSERT INTO booking VALUES ('{id}', '{salon}', '{other}', 'NEW', '2026-01-02 03:04:05+00', 5)"));
    assert_eq!(followed.changes(), [present(salon, "NEW")]);
    database.run(&format!("UPDATE booking SET salon_id = '{other}'"));
    assert_eq!(followed.changes(), [format!("{{{salon}}}booking {id}"), present(other, "NEW")]);
    database.run("DELETE FROM booking");
    assert_eq!(followed.changes(), [format!("{{{other}}}booking {id}")]);
}
