//! Jobs that are proposed: what they write, and that what is cached of it is gone.

use super::{loaded, proposed, ODD};
use crate::support::{Postgres, Redis, Reply, Wire};

/// Enqueues, waits for the outcome, and says what became of it.
#[track_caller]
fn done(wire: &mut Wire, space: &str, job: &str, json: &str) -> String {
    let reply = wire.call(&["BEAR.ENQUEUE", space, job, json, "ATTEMPTS", "1", "BLOCK", "20000"]);
    let outcome = reply.map();
    assert_eq!(outcome["state"].text(), "completed", "{space} {job} {json}: {outcome:?}");
    match &outcome["result"] {
        Reply::Nil => String::new(),
        result => result.text(),
    }
}

#[track_caller]
fn ask(redis: &Redis, call: &str) -> String {
    redis.run(&format!("BEAR.QUERY {call}")).text()
}

#[test]
fn rows_of_any_type_are_inserted_changed_and_deleted() {
    let database = Postgres::shared().database(ODD);
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    let a = done(&mut wire, "node", "INSERT", r#"{"name":"a"}"#);
    let b = done(&mut wire, "node", "INSERT", &format!(r#"{{"name":"b","parent_id":{a}}}"#));
    assert_eq!((&*a, &*b), ("1", "2"));
    let all = r#"{"source_id":1,"target_id":2,"amount":"12.50","extra":{"a":[1]},"tags":["x","a b"],"ints":[3,1,2],"moods":["Happy","it's {ok}"],
        "r":"[1,5)","p":"(1,2)","i":"1 day","ip":"10.0.0.1","b":"\\x00ff","bits":"101","m":"1.50","t":"10:00","f":1.5,"c":"z","nm":"n","ds":[1],
        "v":"a b"}"#;
    let id = done(&mut wire, "transfer", "INSERT", all);
    assert_eq!(id, "1");
    let row: String = database
        .client()
        .query_one(
            "SELECT concat_ws('|', source_id, target_id, amount, doubled, extra, tags, ints, moods, r, p, i, ip, b, bits, t, f, c, nm, ds)
             FROM transfer",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(
        row,
        r#"1|2|12.50|25.00|{"a": [1]}|{x,"a b"}|{3,1,2}|{Happy,"it's {ok}"}|[1,5)|(1,2)|1 day|10.0.0.1|\x00ff|101|10:00:00|1.5|z|n|{1}"#
    );
    let cached = ask(&redis, "transfer 1");
    assert!(cached.contains(r#""amount":12.50"#) && cached.contains(r#""doubled":25.00"#), "{cached}");
    assert_eq!(
        ask(&redis, "node 1 counts"),
        r#"{"id":1,"linked_count":0,"node_count":1,"transfer_count":1,"transfer_by_target_count":0}"#
    );
    done(&mut wire, "transfer", "UPDATE", r#"{"id":1,"amount":2,"source_id":2,"ip":null,"ints":[]}"#);
    let changed = ask(&redis, "transfer 1");
    assert!(changed.contains(r#""amount":2,"#) && changed.contains(r#""ip":null"#), "{changed}");
    assert!(changed.contains(r#""ints":[]"#) && changed.contains(r#""source_id":2"#), "{changed}");
    assert_eq!(
        ask(&redis, "node 1 counts"),
        r#"{"id":1,"linked_count":0,"node_count":1,"transfer_count":0,"transfer_by_target_count":0}"#
    );
    done(&mut wire, "transfer", "DELETE", r#"{"id":1}"#);
    assert_eq!(ask(&redis, "transfer 1"), "null");
}

#[test]
fn odd_names_and_keys_are_written_and_told() {
    let database = Postgres::shared().database(ODD);
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    let user = "6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b";
    done(
        &mut wire,
        "user",
        "INSERT",
        &format!(r#"{{"id":"{user}","name":"Ann","email":"a@x","encrypted_password":"p"}}"#),
    );
    assert_eq!(ask(&redis, "user email a@x"), format!(r#"{{"id":"{user}","name":"Ann","email":"a@x"}}"#));
    let drawn = done(&mut wire, "user", "INSERT", r#"{"name":"Bob","encrypted_password":"p"}"#);
    assert_eq!(drawn.len(), 38, "a uuid, as JSON: {drawn}");
    for (space, call, key, fields, change, shown) in [
        ("order_item", "7", r#""Item_Id":7"#, r#","a_b":"x","gr__e":"1.50""#, r#","it_s":"y""#, r#""it's":"y""#),
        ("tag_rows", "name t", r#""name":"t""#, r#","limit":1,"data_value":{"a":1}"#, r#","order":2"#, r#""order":2"#),
        ("queue_rows", "mood Happy", r#""mood":"Happy""#, "", r#","note":"n""#, r#""note":"n""#),
        ("meta_rows", "5", r#""id":5"#, r#","label":"l""#, r#","b":"sad""#, r#""b":"sad""#),
        ("coded", "id c", r#""id":"c""#, "", r#","x":4"#, r#""x":4"#),
        ("padded", "code ab", r#""code":"ab""#, "", r#","x":"z""#, r#""x":"z  ""#),
        ("reversed", "1 b 2", r#""a":1,"b":2"#, "", r#","c":"x""#, r#""c":"x""#),
        ("by_unique", "3", r#""code":3"#, "", r#","id":"x""#, r#""id_2":"x""#),
        ("odd_id", "4", r#""number":4"#, r#","id":"i""#, r#","ID":"J""#, r#""ID":"J""#),
        ("daily", "2026-05-01", r#""day":"2026-05-01""#, "", r#","n_value":1"#, r#""n":1"#),
        ("stamped", "at 2026-05-01T10:00", r#""at":"2026-05-01T10:00:00Z""#, "", r#","n_value":1"#, r#""n":1"#),
        ("priced", "price 1.50", r#""price":"1.50""#, "", r#","n_value":1"#, r#""n":1"#),
        ("flagged", "is_on true", r#""is_on":true"#, "", r#","n_value":1"#, r#""n":1"#),
        ("floated", "f 1.5", r#""f":1.5"#, "", r#","n_value":1"#, r#""n":1"#),
        ("raw", r"b \x00ff", r#""b":"\\x00ff""#, "", r#","n_value":1"#, r#""n":1"#),
        ("ip", "a 10.0.0.1", r#""a":"10.0.0.1""#, "", "", r#""a":"10.0.0.1""#),
        ("odd_schema_node", "1", r#""id":1"#, "", r#","Up":1"#, r#""Up":1"#),
        ("table_rows_2", "1", r#""value":1"#, "", r#","value_2":"x""#, r#""名前":"x""#),
        ("last", "1", r#""id":1"#, "", r#","last":1"#, r#""last":1"#),
        ("not_2", "1", r#""id":1"#, "", r#","not":1"#, r#""not":1"#),
    ] {
        assert_eq!(ask(&redis, &format!("{space} {call}")), "null", "{space}");
        done(&mut wire, space, "INSERT", &format!("{{{key}{fields}}}"));
        assert_ne!(ask(&redis, &format!("{space} {call}")), "null", "{space}: what was cached is gone");
        if !change.is_empty() {
            done(&mut wire, space, "UPDATE", &format!("{{{key}{change}}}"));
        }
        let row = ask(&redis, &format!("{space} {call}"));
        assert!(row.contains(shown), "{space}: {row}");
        done(&mut wire, space, "DELETE", &format!("{{{key}}}"));
        assert_eq!(ask(&redis, &format!("{space} {call}")), "null", "{space}");
    }
}

/// Of a key of several columns each section is told, and of what goes with a row all that did.
#[test]
fn rows_that_go_with_others_are_told() {
    let database = Postgres::shared().database(ODD);
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    let user = "6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b";
    done(&mut wire, "user", "INSERT", &format!(r#"{{"id":"{user}","name":"Ann","encrypted_password":"p"}}"#));
    done(&mut wire, "node", "INSERT", r#"{"name":"top"}"#);
    done(&mut wire, "node", "INSERT", r#"{"name":"below","parent_id":1}"#);
    let calls =
        ["linked 2", &format!("linked_by_user_id {user}"), &format!("user {user} counts"), "node 2", "node parent 1"];
    let empty: Vec<String> = calls.iter().map(|call| ask(&redis, call)).collect();
    done(&mut wire, "linked", "INSERT", &format!(r#"{{"node_id":2,"user_id":"{user}"}}"#));
    let linked = ask(&redis, "linked 2");
    let expected = format!(
        r#"[{{"id":2,"node_id":2,"user_id":"{user}","weight":0,"id_2":null,"node_name":"below","user_name":"Ann"}}]"#
    );
    assert_eq!(linked, expected);
    assert!(ask(&redis, calls[1]).contains(r#""weight":0"#));
    assert!(ask(&redis, calls[2]).contains(r#""linked_count":1"#), "{empty:?}");
    done(&mut wire, "linked", "UPDATE", &format!(r#"{{"node_id":2,"user_id":"{user}","weight":7}}"#));
    assert!(ask(&redis, calls[0]).contains(r#""weight":7"#) && ask(&redis, calls[1]).contains(r#""weight":7"#));
    done(&mut wire, "node", "DELETE", r#"{"id":1}"#);
    for (call, before) in
        [(calls[0], "[]"), (calls[1], "[]"), (calls[2], &*empty[2]), (calls[3], "null"), (calls[4], "[]")]
    {
        assert_eq!(ask(&redis, call), before, "{call}");
    }
}

/// Nothing but the job tells, and what goes with its row goes by other keys, through five tables, and down a tree.
#[test]
fn a_delete_leaves_nothing_stale_without_a_feed() {
    let database = Postgres::shared().database(ODD);
    let redis = loaded(&database, &proposed(&database, ""));
    let mut wire = redis.wire();
    database.run(
        "INSERT INTO account VALUES ('a', 7, 'x'); INSERT INTO account_link VALUES (1, 7, NULL), (2, NULL, 'x');
         INSERT INTO thread VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, 4), (6, NULL);
         INSERT INTO vote VALUES (1, 5), (2, 6); INSERT INTO vote_note VALUES (1, 1); INSERT INTO vote_word VALUES (1, 1);
         INSERT INTO vote_mark VALUES (1, 1); INSERT INTO page VALUES (1, 2), (1, 3)",
    );
    let gone = [
        "account number a",
        "account_link 1",
        "thread 1",
        "thread 2",
        "thread 5",
        "vote 1",
        "vote_mark 1",
        "page 1 n 2",
    ];
    let stay = ["account_link 2", "thread 6", "vote 2", "page 1 n 3"];
    for call in gone.iter().chain(&stay) {
        assert_ne!(ask(&redis, call), "null", "{call}");
    }
    done(&mut wire, "account", "DELETE", r#"{"number":"a"}"#);
    done(&mut wire, "thread", "DELETE", r#"{"id":1}"#);
    done(&mut wire, "page", "DELETE", r#"{"book":1,"n_value":2}"#);
    for call in gone {
        assert_eq!(ask(&redis, call), "null", "{call}");
    }
    assert!(ask(&redis, "account_link 2").contains(r#""label":null"#), "it has lost its reference");
    for call in stay {
        assert_ne!(ask(&redis, call), "null", "{call}");
    }
}
