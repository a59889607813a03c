//! A database of an encoding that has not all of Unicode: what the module itself sends there is ASCII.

use crate::support::feed::{is_cached, wait_told};
use crate::support::{eventually, Postgres, Redis};

const CATALOG: &str = r#"
[product]
id = "int"
tables = { product = "id" }
[[product.query]]
call = "all"
sql = "SELECT id, name FROM product ORDER BY id"
[product.job.RENAME]
data = { id = "int", name = "text" }
sql = "UPDATE product SET name = job.name FROM {jobs} job WHERE product.id = job.id RETURNING job.n, product.id"
"#;

#[test]
fn jobs_and_feeds_work_in_latin_1() {
    let postgres = Postgres::shared_logical();
    for feed in ["outbox", "wal"] {
        let name = format!("latin_{feed}");
        postgres.run(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"));
        let mut client = postgres.client(&name);
        client
            .batch_execute(
                "CREATE TABLE product(id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'grün')",
            )
            .expect("a table");
        let url = postgres.url_through(postgres.port(), &name);
        let redis = Redis::builder()
            .config("bear.postgres-url", url)
            .config("bear.feed", feed)
            .config("bear.inbox", "yes")
            .catalog(CATALOG)
            .append_only()
            .start();
        wait_told(&redis);
        assert_eq!(redis.run("BEAR.QUERY product all").text(), r#"[{"id":1,"name":"grün"}]"#);
        redis.wait_stored();
        let job = redis.run(r#"BEAR.ENQUEUE product RENAME {"id":1,"name":"blau-é"} BLOCK 5000"#).map();
        assert_eq!(job["state"].text(), "completed", "{feed}");
        assert_eq!(redis.run("BEAR.QUERY product all").text(), r#"[{"id":1,"name":"blau-é"}]"#, "{feed}");
        redis.wait_stored();
        client.batch_execute("UPDATE product SET name = 'weiß'").expect("an update");
        wait_told(&redis);
        assert!(!is_cached(&mut redis.wire(), "product all"), "{feed}");
        eventually("the inbox is there", || redis.info("bear").text("bear_inbox_state") == "up");
        client
            .batch_execute("SELECT bear.enqueue('product', 'RENAME', '{\"id\":1,\"name\":\"schön\"}')")
            .expect("a job");
        eventually("it is applied", || redis.run("BEAR.QUERY product FRESH all").text().contains("schön"));
        // What has no letter there fails that job alone, and says why.
        let job = redis.run(r#"BEAR.ENQUEUE product RENAME {"id":1,"name":"🐻"} BLOCK 5000"#).map();
        assert_eq!(job["state"].text(), "failed", "{feed}");
        assert!(job["error"].map()["message"].text().contains("LATIN1"), "{feed}: {:?}", job["error"]);
        let job = redis.run(r#"BEAR.ENQUEUE product RENAME {"id":1,"name":"rot"} BLOCK 5000"#).map();
        assert_eq!(job["state"].text(), "completed", "{feed}");
    }
}
