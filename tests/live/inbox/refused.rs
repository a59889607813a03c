//! What can be no job has failed, in BEAR.JOBS and in the inbox, with the reason; others go on.

use crate::support::claims::claim;
use crate::support::inbox::{builder, database, effects, enqueue, enqueue_with, row_of, wait_ours, CATALOG};
use crate::support::jobs::{error_of, find, ids_in, stat};
use crate::support::{eventually, Reply, Wire};

fn reasons(wire: &mut Wire, space: &str) -> Vec<(i64, String)> {
    let ids = ids_in(wire, space, "failed");
    ids.iter().map(|id| (row_of(id), error_of(&find(wire, space, id).expect("a job")).0)).collect()
}

#[test]
fn what_can_be_no_job_has_failed_in_both() {
    let database = database();
    let redis = builder(&database).config("bear.max-job-bytes", 200).start();
    wait_ours(&redis);
    let (mut client, mut wire) = (database.client(), redis.wire());
    // As an application whose catalog is another would: bear.enqueue looks at what the owner's has.
    client.batch_execute("DELETE FROM bear.inbox_job").expect("deleted");
    let long = format!(r#"{{"v": 1, "w": "{}"}}"#, "x".repeat(300));
    let mut expected = Vec::new();
    for (space, job, data, more, reason) in [
        ("mail", "NONE", r#"{"v": 1}"#, "", "section 'mail' has no job 'NONE'"),
        ("mail", "SEND", r#"{"v": "x"}"#, "", "v"),
        ("mail", "SEND", r#"{"w": 1}"#, "", "v"),
        ("mail", "SEND", "5", "", "object"),
        ("mail", "SEND", &long, "", "a payload may hold 200 bytes"),
        ("note", "NONE", r#"{"v": 1}"#, "", "section 'note' has no job 'NONE'"),
        ("note", "ADD", r#"{"v": null}"#, "", "v"),
        ("note", "ADD", r#"{"v": 1}"#, ", priority => 3", "PRIORITY is for jobs that workers claim"),
    ] {
        enqueue(&mut client, space, if space == "note" { "ADD" } else { "SEND" }, 1);
        expected.push((space, enqueue_with(&mut client, space, job, data, more), reason));
        enqueue(&mut client, space, if space == "note" { "ADD" } else { "SEND" }, 2);
    }
    eventually("the others are there", || {
        effects(&mut client).len() == 6 && ids_in(&mut wire, "mail", "waiting").len() == 10
    });
    for space in ["mail", "note"] {
        let expected: Vec<_> = expected.iter().filter(|(of, ..)| *of == space).collect();
        let reasons = reasons(&mut wire, space);
        assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
        for (_, row, reason) in expected {
            let (_, found) = reasons.iter().find(|(of, _)| of == row).expect("it has failed");
            assert!(found.contains(reason), "{found}");
            let sql = "SELECT failed->>'message' FROM bear.inbox WHERE id = $1";
            eventually("Postgres knows", || {
                client.query_one(sql, &[row]).expect("a row").get::<_, Option<String>>(0).as_ref() == Some(found)
            });
        }
    }
    eventually("nothing is left to tell", || {
        wire.run("EXISTS mail:queue:inbox:tell note:queue:inbox:tell") == Reply::Int(0)
    });
    assert_eq!(claim(&mut wire, "mail COUNT 20").len(), 10);
}

/// They used to be taken, and to fail once Redis had them.
#[test]
fn names_of_spaces_that_no_section_has_are_refused_at_once() {
    const PRODUCT: &str = "[product]\n[product.job.SEND]\ndata = { v = \"int\" }\nclaim = {}\n";
    let database = database();
    let redis = builder(&database).catalog(format!("{CATALOG}{PRODUCT}")).start();
    wait_ours(&redis);
    let mut client = database.client();
    let mut try_to = |space: &str, job: &str| {
        let row = client.query_one("SELECT bear.enqueue($1, $2, '{\"v\": 1}')", &[&space, &job]);
        row.map(drop).map_err(|error| error.as_db_error().expect("an error of Postgres").message().to_owned())
    };
    let refused = |reason: &str| Err(format!("bear.enqueue: {reason}"));
    for space in ["mail", "open", "{7}:shop", "{*}:shop", "product"] {
        assert_eq!(try_to(space, "SEND"), Ok(()), "{space}");
    }
    for (space, job, reason) in [
        ("{7}:mail", "SEND", "'mail' has no tenant: the space must be written as 'mail'"),
        ("{7}:open", "ANY", "'open' has no tenant: the space must be written as 'open'"),
        ("shop", "SEND", "'shop' is kept per tenant: the space must be written as '{tenant}:shop'"),
        ("{x}:product", "SEND", "'product' has no tenant: the space must be written as 'product'"),
        ("product", "NONE", "section 'product' has no job 'NONE'; it has SEND"),
        ("nosuch", "SEND", "no section with jobs is called 'nosuch'; there are both, mail, note, open, product, shop"),
    ] {
        assert_eq!(try_to(space, job), refused(reason), "{space}");
    }
    let grouped = PRODUCT.replacen('\n', "\ngroup = \"store\"\n", 1);
    std::fs::write(redis.catalog_path(), format!("{CATALOG}{grouped}")).expect("written");
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let reason = "'product' is of the group 'store': the space must be written as '{store}:product'";
    eventually("Postgres knows the group", || try_to("product", "SEND") == refused(reason));
    assert_eq!(try_to("{x}:product", "SEND"), refused(reason));
    assert_eq!(try_to("{store}:product", "SEND"), Ok(()));
    eventually("it is there", || stat(&mut redis.wire(), "{store}:product", "waiting") == 1);
}

#[test]
fn large_payloads_are_checked_in_their_order() {
    let database = database();
    let redis = crate::support::inbox::server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let large = |v: i64| format!(r#"{{"v": {v}, "text": "{}"}}"#, "x".repeat(200_000));
    enqueue_with(&mut client, "open", "A", r#"{"v": 1}"#, "");
    enqueue_with(&mut client, "open", "A", &large(2), "");
    enqueue_with(&mut client, "open", "A", r#"{"v": 3}"#, "");
    // Of a declared job it says that there is no such field.
    enqueue_with(&mut client, "mail", "SEND", &large(4), "");
    enqueue_with(&mut client, "mail", "SEND", r#"{"v": 5}"#, "");
    eventually("all are there", || {
        ids_in(&mut wire, "open", "waiting").len() == 3 && ids_in(&mut wire, "mail", "failed").len() == 1
    });
    let jobs = claim(&mut wire, "open COUNT 5");
    let sizes: Vec<bool> = jobs.iter().map(|job| job.data.len() > 100_000).collect();
    assert_eq!(sizes, [false, true, false]);
    eventually("the one behind it is there", || ids_in(&mut wire, "mail", "waiting").len() == 1);
}
