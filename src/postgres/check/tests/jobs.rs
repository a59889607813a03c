//! What jobs change without telling of it.

use std::time::{Duration, Instant};

use super::proofs::{parse, validation};
use crate::core::catalog::job::JobBody;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::Tried;
use crate::postgres::{
    CatalogFile, JobOf, JobStatement, StatementKind, ValidateStatement, Validation, ValidationReport,
};

const TABLES: &str =
    "CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL); CREATE TABLE log (id int, at timestamptz);
     CREATE TABLE product (id int PRIMARY KEY, category_id int REFERENCES category ON DELETE SET NULL ON UPDATE CASCADE, name text);
     CREATE TABLE review (id int PRIMARY KEY, product_id int REFERENCES product ON DELETE CASCADE);
     CREATE TABLE link (product_id int REFERENCES product ON DELETE CASCADE, category_id int, PRIMARY KEY (product_id, category_id));
     CREATE VIEW known AS SELECT id, name FROM product WHERE name IS NOT NULL;
     CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN NULL; END';
     CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END';
     CREATE TRIGGER further AFTER INSERT ON category FOR EACH ROW EXECUTE FUNCTION more();
     CREATE TRIGGER own BEFORE INSERT OR UPDATE ON category FOR EACH ROW EXECUTE FUNCTION own()";

const QUERIES: &str = r#"
[product]
[[product.query]]
call = "in {category:int}"
sql = "SELECT p.id, c.name, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n FROM product p JOIN category c ON c.id = p.category_id WHERE c.id = {category}"
[category]
[[category.query]]
call = "all"
sql = "SELECT id, name FROM category"
[[category.query]]
call = "of {product:int}"
sql = "SELECT category_id AS id FROM link WHERE product_id = {product}"
rows = false
trust = "looked at for a minute"
ttl = "1m"
"#;

/// What is said of a job of section `category`: errors, and hints.
fn said(tried: &Tried, sql: &str, has_feed: bool) -> (Vec<String>, Vec<String>) {
    let text = format!("{QUERIES}\n[category.job.DO]\ndata = {{ id = \"int\", name = \"text\" }}\nsql = \"{sql}\"\n");
    let catalog = parse(&text);
    let mut asked = validation(&catalog);
    for (index, section) in catalog.sections.iter().enumerate() {
        for job in &section.jobs {
            let JobBody::Set(template) = &job.body else { panic!("{:?}", job.body) };
            let of = JobOf { section: index, section_name: section.name.clone(), name: job.name.clone() };
            asked.statements.push(ValidateStatement {
                what: format!("section '{}', job {}", section.name, job.name),
                sql: template.text.clone(),
                params: section.job_param_types(job, template),
                kind: StatementKind::Job(JobStatement::Set, of),
            });
        }
    }
    let file = Some(CatalogFile { text: text.into(), plan_id: super::complete::plan_id });
    let deadline = Instant::now() + Duration::from_secs(20);
    let report = tried.pool.validate(&Validation { file, has_feed, deadline, ..asked }).unwrap();
    let ValidationReport { errors, hints, .. } = report;
    (errors, hints.into_values().flatten().collect())
}

#[test]
fn what_a_job_changes_and_does_not_tell_of_is_said() {
    let server = Server::new();
    server.run(TABLES);
    let tried = Tried::new(&server, |_| {});
    let of_job = "FROM {jobs} job WHERE category.id = job.id RETURNING job.n, category.id";
    for (sql, expected) in [
        (format!("UPDATE category SET name = job.name {of_job}"), &[][..]),
        // Nobody reads it.
        ("INSERT INTO log SELECT job.id FROM {jobs} job RETURNING 1::int8 AS n, id".to_owned(), &[]),
        // By itself.
        (
            "WITH p AS (UPDATE product SET name = job.name FROM {jobs} job WHERE product.category_id = job.id) SELECT n, id FROM {jobs} job".to_owned(),
            &["'product'"],
        ),
        // Its rows are told.
        (
            "UPDATE product SET name = job.name FROM {jobs} job WHERE product.id = job.id RETURNING job.n, 'product' AS section, product.id".to_owned(),
            &[],
        ),
        // Of which sections is not known.
        (
            "UPDATE product SET name = job.name FROM {jobs} job WHERE product.id = job.id RETURNING job.n, lower('PRODUCT') AS section, product.id".to_owned(),
            &[],
        ),
        // Through a view.
        (
            "WITH p AS (DELETE FROM known USING {jobs} job WHERE known.id = job.id) SELECT n, id FROM {jobs} job".to_owned(),
            &["'product'", "'review' (ON DELETE CASCADE of 'product')"],
        ),
        // By foreign keys.
        (
            "DELETE FROM category USING {jobs} job WHERE category.id = job.id RETURNING job.n, category.id".to_owned(),
            &["'product' (ON DELETE SET of 'category')"],
        ),
        (format!("UPDATE category SET id = job.id + 1 {of_job}"), &["'product' (ON UPDATE CASCADE of 'category')"]),
        (
            "DELETE FROM product USING {jobs} job WHERE product.id = job.id RETURNING job.n, 'product' AS section, product.id".to_owned(),
            &["'review' (ON DELETE CASCADE of 'product')"],
        ),
    ] {
        let (errors, hints) = said(&tried, &sql, true);
        assert_eq!(errors, Vec::<String>::new(), "{sql}");
        let heads = |said: &[String], from: &str| -> Vec<String> {
            let head = |text: &String| text.split_once(from).and_then(|(_, rest)| rest.split_once(", which")).map(|(head, _)| head.to_owned());
            said.iter().map(|text| head(text).unwrap_or_else(|| panic!("{text}"))).collect()
        };
        assert_eq!(heads(&hints, "changes "), expected, "{sql}");
        assert!(hints.iter().all(|hint| hint.ends_with("once the feed tells of it")), "{hints:?}");
        let (errors, hints) = said(&tried, &sql, false);
        assert_eq!(heads(&errors, "section 'category', job DO: changes "), expected, "{sql}");
        assert!(hints.iter().all(|hint| hint.contains("trigger 'further' of 'category'")), "{hints:?}");
        assert_eq!(hints.len(), usize::from(sql.contains("UPDATE category") || sql.contains("DELETE FROM category")), "{sql}: {hints:?}");
    }
}
