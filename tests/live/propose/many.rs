//! Two thousand tables: proposed at once, and nobody is held meanwhile.

use std::time::{Duration, Instant};

use crate::support::{Postgres, Redis};

const TABLES: &str = "
DO $$ BEGIN
    FOR i IN 1..2000 LOOP
        EXECUTE format('CREATE TABLE thing_%s (id bigserial PRIMARY KEY, name text UNIQUE, of_id bigint, at timestamptz NOT NULL DEFAULT now(),
            price numeric(10,2), kind int, tags text[], body jsonb)', i);
        IF i > 1 THEN
            EXECUTE format('ALTER TABLE thing_%s ADD FOREIGN KEY (of_id) REFERENCES thing_%s ON DELETE CASCADE', i, i / 2);
            EXECUTE format('CREATE INDEX ON thing_%s (of_id)', i);
        END IF;
        IF i % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$";

#[test]
fn two_thousand_tables_are_proposed_at_once() {
    let postgres = Postgres::start();
    let database = postgres.database("SELECT 1");
    database.run(TABLES);
    let redis = Redis::builder().postgres(&database).config("bear.feed", "off").start();
    redis.run("CONFIG RESETSTAT");
    let begun = Instant::now();
    let text = redis.run("BEAR.PROPOSE").text();
    let took = begun.elapsed();
    // A build for tests takes ten times as long as what is measured for the book.
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(text.matches("\n[thing_").count() - text.matches(".job.").count(), 2000);
    let held = redis.info("bear").int("bear_longest_command_us");
    assert!(held < 20_000, "{held} us");
    let again = redis.run("BEAR.PROPOSE TABLE thing_1999").text();
    assert!(again.contains("[[thing_1999.query]]") && !again.contains("thing_1998"), "{again}");
}
