//! A catalog's statements tried against Postgres.

mod complete;
mod facts;
mod jobs;
mod proofs;
mod reads;
mod trees;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::values::value::ArgType;
use crate::core::values::value::ScalarType::{self, *};
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{plan, scalar, Tried};
use crate::postgres::{JobOf, JobStatement, StatementKind, ValidateStatement, Validation};

fn query(what: &str, plan: FetchPlan) -> ValidateStatement {
    ValidateStatement {
        what: what.to_owned(),
        sql: String::new(),
        params: vec![],
        kind: StatementKind::Query(Arc::new(plan)),
    }
}

fn other(what: &str, sql: &str, params: Vec<Option<ArgType>>) -> ValidateStatement {
    ValidateStatement { what: what.to_owned(), sql: sql.to_owned(), params, kind: StatementKind::Other }
}

fn job(what: &str, sql: &str) -> ValidateStatement {
    let params = vec![Some(ArgType::scalar(ScalarType::Json))];
    let of = JobOf { section: 0, section_name: "bear".into(), name: what.into() };
    let kind = StatementKind::Job(JobStatement::Set, of);
    ValidateStatement { what: what.to_owned(), sql: sql.to_owned(), params, kind }
}

#[test]
fn reports_what_is_wrong_and_what_no_section_maps() {
    let server = Server::new();
    server.run(
        "CREATE TABLE bear (id int PRIMARY KEY, size int); CREATE TABLE color (id int); CREATE SCHEMA far; CREATE TABLE far.den (id int);
         CREATE TABLE log (id int, at date) PARTITION BY RANGE (at); CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
         CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    );
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        let tracked = |sql: &str, params: &[ArgType]| FetchPlan { row_id: Some(Int), ..plan(sql, params) };
        let int = scalar(Int);
        let validation = Validation {
            ticket: 1,
            statements: vec![
                query("good", tracked("SELECT id FROM bear WHERE size = $1 AND ($2 IS NULL OR id = $2) LIMIT $3 -- x", &[int, int, int])),
                query("unmapped", tracked("SELECT b.id FROM bear b JOIN color c ON c.id = b.id, far.den d WHERE c.id = $1", &[int])),
                query("partitioned", tracked("SELECT id FROM log WHERE at = $1", &[scalar(Date)])),
                query("missing", tracked("SELECT id FROM beer WHERE size = 1", &[])),
                query("no id", tracked("SELECT size FROM bear", &[])),
                query("two", tracked("SELECT 1 AS id; DROP TABLE bear", &[])),
                other("job", "WITH j AS (SELECT n, id, size FROM jsonb_to_recordset($1) AS job(n int, id int, size int)) UPDATE bear SET size = j.size FROM j WHERE bear.id = j.id RETURNING j.n, bear.id", vec![None]),
                other("bad job", "INSERT INTO bear SELECT FROM nothing", vec![]),
                job("good job", "UPDATE bear SET size = job.size FROM jsonb_to_recordset($1) AS job(n int8, id int, size int) WHERE bear.id = job.id RETURNING job.n, bear.id"),
                job("no n", "UPDATE bear SET size = job.size FROM jsonb_to_recordset($1) AS job(n int8, id int, size int) WHERE bear.id = job.id RETURNING bear.id"),
                job("text n", "SELECT n::text FROM jsonb_to_recordset($1) AS job(n int8)"),
                job("odd id", "SELECT n, point(1, 2) AS id FROM jsonb_to_recordset($1) AS job(n int8)"),
                other("untyped", "SELECT $1", vec![None]),
                other("typed", "SELECT $1", vec![Some(ArgType { scalar: TimestampTz, array: true })]),
            ],
            mapped_tables: vec!["bear".to_owned(), "public.log".to_owned()],
            sections: Arc::new([]), file: None,
 has_feed: true,
            deadline: Instant::now() + Duration::from_secs(20),
        };
        let report = tried.pool.validate(&validation).unwrap();
        assert_eq!(
            report.warnings,
            [
                "unmapped: reads relation 'color', which no section maps",
                "unmapped: reads relation 'far.den', which no section maps"
            ],
            "{report:?}"
        );
        let starts: Vec<&str> = report.errors.iter().filter_map(|error| error.split(": ").next()).collect();
        assert_eq!(starts, ["missing", "no id", "two", "bad job", "no n", "text n", "odd id"], "{report:?}");
        assert!(report.errors[0].contains("42P01") && report.errors[0].contains("near: beer WHERE"), "{report:?}");
        assert!(report.errors[1].contains("rows = false"));
        assert!(report.errors[4].contains("RETURNING job.n") && report.errors[6].contains("id::text"), "{report:?}");
        // The session is as it was.
        assert_eq!(tried.json("SELECT count(*) AS n FROM bear"), r#"[{"n":0}]"#);
    }
}
