//! Whose sections are whose.

use super::*;
use crate::postgres::inbox::Owned;

fn standing(side: &mut Side) -> Vec<(String, bool)> {
    side.link.renew(&mut side.holding, false).unwrap();
    side.holding.standing().into_iter().map(|(section, owned)| (section.into(), owned == Owned::Ours)).collect()
}

/// All have been silent for 31 s.
fn let_time_pass(server: &Server) {
    server.run("UPDATE bear.inbox_owner SET seen = seen - interval '31 s'");
}

fn jobs(server: &Server) -> Vec<String> {
    let rows =
        server.client().query("SELECT concat_ws(' ', section, job, kind) FROM bear.inbox_job ORDER BY 1", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_section_has_one_owner() {
    let server = Server::new();
    let mut one = Side::new(&server, 1, &[("mail", "SEND"), ("bear", "GROW")]);
    let mut two = Side::new(&server, 2, &[("mail", "OTHER"), ("sms", "*")]);
    assert_eq!(standing(&mut one), [("bear".into(), true), ("mail".into(), true)]);
    assert_eq!(standing(&mut two), [("mail".into(), false), ("sms".into(), true)]);
    assert_eq!(two.holding.standing()["mail"], Owned::Others { name: "host:1".into() });
    assert_eq!(jobs(&server), ["bear GROW sql", "mail SEND claimed", "sms * claimed"]);
    enqueue(&server, "mail", "SEND");
    enqueue(&server, "{7}:sms", "X");
    assert_eq!(one.names(), ["SEND"]);
    assert_eq!(two.names(), ["X"]);
    // The first one falls silent, and comes back too late.
    server.run("UPDATE bear.inbox_owner SET seen = seen - interval '31 s' WHERE owner = 1");
    assert_eq!(standing(&mut two), [("mail".into(), true), ("sms".into(), true)]);
    assert_eq!(jobs(&server), ["bear GROW sql", "mail OTHER claimed", "sms * claimed"]);
    enqueue(&server, "mail", "OTHER");
    // By then it takes nothing, though it does not know yet.
    assert!(one.names().is_empty());
    assert_eq!(two.names(), ["OTHER"]);
    assert_eq!(standing(&mut one), [("bear".into(), true), ("mail".into(), false)]);
    let_time_pass(&server);
    assert_eq!(standing(&mut one), [("bear".into(), true), ("mail".into(), true)]);
}

#[test]
fn a_copy_of_the_data_takes_over_and_is_not_taken_over_from() {
    let server = Server::new();
    let mut one = Side::new(&server, 1, &[("mail", "*")]);
    assert_eq!(standing(&mut one), [("mail".into(), true)]);
    // Of the same data: promoted, or loaded elsewhere.
    let mut two = Side::new(&server, 1, &[("mail", "*")]);
    assert_eq!(standing(&mut two), [("mail".into(), true)]);
    enqueue(&server, "mail", "A");
    assert!(one.names().is_empty());
    assert_eq!(two.names(), ["A"]);
    for _ in 0..3 {
        assert_eq!(standing(&mut one), [("mail".into(), false)]);
        assert_eq!(standing(&mut two), [("mail".into(), true)]);
    }
    let_time_pass(&server);
    assert_eq!(standing(&mut one), [("mail".into(), true)]);
    assert_eq!(standing(&mut two), [("mail".into(), false)]);
}

#[test]
fn a_new_connection_goes_on_with_what_is_held() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, &[("mail", "*")]);
    let generation = |server: &Server| -> i64 {
        server.client().query_one("SELECT generation FROM bear.inbox_owner", &[]).unwrap().get(0)
    };
    let before = generation(&server);
    side.link = connect(&server, true);
    assert_eq!(standing(&mut side), [("mail".into(), true)]);
    assert_eq!(generation(&server), before);
    // Tables that were made anew know nothing of it.
    server.run("SELECT bear.inbox_uninstall()");
    assert!(side.link.look_again().is_err());
    side.link = connect(&server, true);
    assert_eq!(standing(&mut side), [("mail".into(), true)]);
    side.link.look_again().unwrap();
}

#[test]
fn another_catalog_gives_back_what_it_lacks() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, &[("mail", "SEND"), ("sms", "*")]);
    let new = holding(1, &[("mail", "SEND"), ("mail", "DROP"), ("bear", "GROW")]);
    side.holding = new.replaces(std::mem::take(&mut side.holding));
    side.link.renew(&mut side.holding, true).unwrap();
    assert_eq!(standing(&mut side), [("bear".into(), true), ("mail".into(), true)]);
    assert_eq!(jobs(&server), ["bear GROW sql", "mail DROP claimed", "mail SEND claimed"]);
    let rows = server.client().query("SELECT section FROM bear.inbox_owner ORDER BY 1", &[]).unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["bear", "mail"]);
}

#[test]
fn who_may_not_write_is_told_what_to_grant() {
    let server = Server::new();
    server.run(include_str!("../../../../schema/inbox.sql"));
    server.run("CREATE ROLE low LOGIN; CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on; GRANT USAGE ON SCHEMA bear TO low, reader");
    let connect = |role: &str, is_made| {
        let url = server.url().replace("//bear@", &format!("//{role}@"));
        let settings = Arc::new(Settings::new(url, UrlSource::Config));
        InboxLink::connect(settings, is_made, Arc::new(AtomicBool::new(false)))
    };
    let Ok(Linked::Link(mut link)) = connect("low", false) else { panic!("no link") };
    let error = link.renew(&mut holding(1, &[("mail", "*")]), true).unwrap_err();
    assert!(error.0.contains("schema/inbox.sql says what an administrator is to grant"), "{error}");
    assert!(matches!(connect("reader", false), Ok(Linked::Absent)));
    let Err(error) = connect("reader", true) else { panic!("it may write") };
    assert!(error.0.contains("read only"), "{error}");
    server.run("GRANT SELECT, INSERT, UPDATE, DELETE ON bear.inbox, bear.inbox_owner, bear.inbox_job TO low");
    let Ok(Linked::Link(mut link)) = connect("low", false) else { panic!("no link") };
    let mut holding = holding(1, &[("mail", "*")]);
    link.renew(&mut holding, true).unwrap();
    let id = enqueue(&server, "mail", "A");
    let (found, _) = link.list(&holding, Listing::All).unwrap();
    assert_eq!(found.ids.len(), 1);
    use crate::core::inbox::tell::{Telling, ToldAs};
    assert_eq!(link.tell(&[(id, Telling::Done)]).unwrap(), [(id, ToldAs::Told)]);
}

#[test]
fn an_inbox_with_narrow_priorities_is_widened_by_running_its_file_again() {
    const INBOX: &str = include_str!("../../../../schema/inbox.sql");
    let server = Server::new();
    server.run(INBOX);
    server.run("ALTER TABLE bear.inbox ALTER COLUMN priority TYPE int2");
    let link = || {
        let settings = Arc::new(Settings::new(server.url(), UrlSource::Config));
        InboxLink::connect(settings, true, Arc::new(AtomicBool::new(false)))
    };
    let Err(error) = link() else { panic!("it is not what bear makes") };
    assert!(error.0.contains("bear.inbox has other columns than bear makes"), "{error}");
    enqueue(&server, "mail", "A");
    server.run(INBOX);
    let Ok(Linked::Link(mut link)) = link() else { panic!("no link") };
    let mut holding = holding(1, &[("mail", "*")]);
    link.renew(&mut holding, true).unwrap();
    let (found, _) = link.list(&holding, Listing::All).unwrap();
    assert_eq!(found.ids.len(), 1);
}

#[test]
fn tables_of_somebody_else_are_not_used() {
    let server = Server::new();
    server.run(include_str!("../../../../schema/inbox.sql"));
    server.run(
        "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER spy BEFORE INSERT ON bear.inbox FOR EACH ROW EXECUTE FUNCTION spy()",
    );
    let settings = Arc::new(Settings::new(server.url(), UrlSource::Config));
    let Err(error) = InboxLink::connect(settings, false, Arc::new(AtomicBool::new(false))) else {
        panic!("it is used")
    };
    assert!(error.0.contains("bear.inbox has the trigger spy"), "{error}");
}

#[test]
fn who_enqueues_while_the_catalog_is_written_is_not_refused() {
    let server = Server::new();
    let _owner = Side::new(&server, 1, &[("mail", "SEND")]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                // As when a data set begins with an empty table, and leaves it again.
                client.batch_execute("DELETE FROM bear.inbox_job").unwrap();
                let job = "INSERT INTO bear.inbox_job VALUES ('mail', 'SEND', 'claimed'), ('sms', 'X', 'claimed')";
                client.batch_execute(job).unwrap();
            }
        });
        let mut client = server.client();
        let refused = (0..3_000).find_map(|_| client.execute("SELECT bear.enqueue('mail', 'SEND', '{}')", &[]).err());
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}
