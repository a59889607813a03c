//! Rows are settled, and what has become of them is told.

use super::*;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::postgres::inbox::Settled;

const MAIL: &[(&str, &str)] = &[("mail", "*")];

fn told(side: &mut Side, news: &[(u64, Telling)]) -> Vec<(u64, ToldAs)> {
    let mut told = side.link.tell(news).unwrap();
    told.sort_by_key(|(id, _)| *id);
    told
}

fn settled(side: &mut Side, ids: &[u64]) -> Vec<(u64, Settled)> {
    let (mut settled, left) = side.link.verify(ids).unwrap();
    assert!(left.is_empty());
    settled.sort_by_key(|(id, _)| *id);
    settled
}

#[test]
fn rows_are_settled() {
    let server = Server::new();
    for prepare in [true, false] {
        let mut side = Side::with(&server, 1, MAIL, prepare);
        let ids: Vec<u64> = ["A", "B", "C", "D"].iter().map(|job| enqueue(&server, "mail", job)).collect();
        let error: Box<str> = r#"{"message":"it's \u0000 \\u0000 \"é\""}"#.into();
        let news = [
            (ids[0], Telling::Done),
            (ids[1], Telling::Failed(error)),
            (ids[2], Telling::Fence(9)),
            (ids[3] + 1000, Telling::Done),
            (ids[3] + 1001, Telling::Fence(1)),
        ];
        let expected = [
            (ids[0], ToldAs::Told),
            (ids[1], ToldAs::Told),
            (ids[2], ToldAs::Told),
            (ids[3] + 1000, ToldAs::Gone),
            (ids[3] + 1001, ToldAs::Gone),
        ];
        assert_eq!(told(&mut side, &news), expected);
        let found = settled(&mut side, &ids);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (ids[0], Settled::Gone));
        let (id, Settled::Failed { error, .. }) = &found[1] else { panic!("{found:?}") };
        let error: serde_json::Value = serde_json::from_str(error).unwrap();
        assert_eq!((*id, error["message"].as_str()), (ids[1], Some("it's \u{fffd} \\u0000 \"é\"")));
        assert!(error["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
        let (listed, _) = side.link.list(&side.holding, Listing::All).unwrap();
        assert_eq!(listed.ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[2..]);
        // Tried again.
        assert_eq!(told(&mut side, &[(ids[1], Telling::Fence(5))]), [(ids[1], ToldAs::Told)]);
        let all = ids[1..].iter().map(|id| (*id, Telling::Done)).collect::<Vec<_>>();
        assert_eq!(settled(&mut side, &ids[1..]), []);
        assert!(told(&mut side, &all).iter().all(|(_, told)| *told == ToldAs::Told));
    }
}

#[test]
fn a_fence_stops_those_who_come_too_late() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let id = enqueue(&server, "mail", "A");
    let complete = |token: i64| {
        let sql = format!("SELECT bear.complete('mail', '{id}', {token}, '1')");
        server.client().batch_execute(&sql).map_err(|error| error.code().unwrap().code().to_owned())
    };
    assert_eq!(told(&mut side, &[(id, Telling::Fence(9))]), [(id, ToldAs::Told)]);
    // It never goes back.
    assert_eq!(told(&mut side, &[(id, Telling::Fence(4))]), [(id, ToldAs::Told)]);
    assert_eq!(complete(9), Err("BE001".to_owned()));
    assert_eq!(complete(10), Ok(()));
    assert_eq!(complete(11), Err("BE001".to_owned()));
    let completed = ToldAs::Completed { token: 10, result: Some("1".into()) };
    assert_eq!(told(&mut side, &[(id, Telling::Fence(10))]), [(id, completed.clone())]);
    assert_eq!(told(&mut side, &[(id, Telling::Failed("{}".into()))]), [(id, completed)]);
    let done = Settled::Done { space: "mail".into(), token: 10, result: Some("1".into()) };
    assert_eq!(settled(&mut side, &[id]), [(id, done)]);
    assert_eq!(told(&mut side, &[(id, Telling::Done)]), [(id, ToldAs::Told)]);
    assert_eq!(complete(12), Err("BE001".to_owned()));
}

#[test]
fn a_row_that_somebody_holds_is_told_of_later() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let (held, free) = (enqueue(&server, "mail", "A"), enqueue(&server, "mail", "B"));
    let mut client = server.client();
    let mut open = client.transaction().unwrap();
    open.batch_execute(&format!("SELECT bear.complete('mail', '{held}', 3)")).unwrap();
    for telling in [Telling::Fence(3), Telling::Failed("{}".into())] {
        let news = [(held, telling.clone()), (free, telling)];
        assert_eq!(told(&mut side, &news), [(free, ToldAs::Told)]);
    }
    assert_eq!(told(&mut side, &[(held, Telling::Done), (free, Telling::Done)]), [(free, ToldAs::Told)]);
    assert_eq!(settled(&mut side, &[held]), []);
    open.commit().unwrap();
    let completed = ToldAs::Completed { token: 3, result: None };
    assert_eq!(told(&mut side, &[(held, Telling::Fence(3))]), [(held, completed)]);
    // And one that is undone is as if it had never been.
    let held = enqueue(&server, "mail", "C");
    let mut open = client.transaction().unwrap();
    open.batch_execute(&format!("SELECT bear.complete('mail', '{held}', 3)")).unwrap();
    assert_eq!(told(&mut side, &[(held, Telling::Fence(3))]), []);
    open.rollback().unwrap();
    assert_eq!(told(&mut side, &[(held, Telling::Fence(3))]), [(held, ToldAs::Told)]);
}

#[test]
fn who_completes_waits_for_a_fence_that_is_being_written() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let id = enqueue(&server, "mail", "A");
    let mut client = server.client();
    let mut open = client.transaction().unwrap();
    open.batch_execute(&format!("UPDATE bear.inbox SET fence = 5 WHERE id = {id}")).unwrap();
    let late = server.client();
    let completing = std::thread::spawn(move || {
        let mut late = late;
        late.batch_execute(&format!("SELECT bear.complete('mail', '{id}', 5)"))
            .map_err(|error| error.code().unwrap().code().to_owned())
    });
    crate::postgres::tests::eventually("a wait for the row", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        server.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    open.commit().unwrap();
    assert_eq!(completing.join().unwrap(), Err("BE001".to_owned()));
    assert_eq!(settled(&mut side, &[id]), []);
}

#[test]
fn rows_that_failed_long_ago_go() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let ids: Vec<u64> = ["A", "B", "C"].iter().map(|job| enqueue(&server, "mail", job)).collect();
    let failed = |id: u64| (id, Telling::Failed(r#"{"message":"no"}"#.into()));
    told(&mut side, &[failed(ids[0]), failed(ids[1])]);
    server.run(&format!(
        "UPDATE bear.inbox SET failed = failed || jsonb_build_object('at', (failed ->> 'at')::int8 - 8 * 86400000) WHERE id = {}",
        ids[0]
    ));
    // Of one that does not say when, as old as it is.
    server.run(&format!(
        "UPDATE bear.inbox SET failed = '1', enqueued = now() - interval '8 days' WHERE id = {}",
        ids[2]
    ));
    let of_others = holding(2, &[("sms", "*")]);
    assert!(!side.link.clean(&of_others, 7).unwrap());
    assert!(!side.link.clean(&side.holding, 9).unwrap());
    assert!(settled(&mut side, &ids).iter().all(|(_, settled)| *settled != Settled::Gone));
    assert!(!side.link.clean(&side.holding, 7).unwrap());
    let gone: Vec<u64> =
        settled(&mut side, &ids).iter().filter(|(_, settled)| *settled == Settled::Gone).map(|(id, _)| *id).collect();
    assert_eq!(gone, [ids[0], ids[2]]);
}
