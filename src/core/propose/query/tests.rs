//! Statements as applications send them, and what is proposed of each.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::core::calls::pattern::CallPattern;
use crate::core::sql::template::Template;

const ORMS: &str = include_str!("../../derive/tests/orms.tsv");
const PROPOSED: &str = include_str!("tests/orms.txt");

fn parameter(name: &str) -> ParameterType {
    let oids = [
        ("int", 23),
        ("integer", 23),
        ("bigint", 20),
        ("text", 25),
        ("varchar", 1043),
        ("numeric", 1700),
        ("boolean", 16),
        ("real", 700),
        ("timestamptz", 1184),
        ("date", 1082),
        ("uuid", 2950),
        ("integer[]", 1007),
        ("text[]", 1009),
        ("bigint[]", 1016),
    ];
    let oid = oids.iter().find(|(known, _)| *known == name).map_or(99_999, |(_, oid)| *oid);
    ParameterType { oid, name: name.to_owned() }
}

fn propose(sql: &str, types: &str, call: Option<&str>) -> Result<Proposal, Refused> {
    let draft = Draft::read(sql)?;
    let types: Vec<ParameterType> = types.split(' ').filter(|name| !name.is_empty()).map(parameter).collect();
    assert_eq!(types.len(), draft.slots.len(), "{sql}");
    draft.propose(&types, &Naming::AsTheyAre, call, &|_| true)
}

/// The call and the statement are fit for a catalog.
fn check(proposal: &Proposal) {
    let pattern = CallPattern::parse(&proposal.call).unwrap_or_else(|error| panic!("{}: {error}", proposal.call));
    let known: Vec<&str> = pattern.args().iter().map(|arg| &*arg.name).collect();
    let template = Template::parse(&proposal.sql, &known).unwrap_or_else(|error| panic!("{}: {error}", proposal.sql));
    assert_eq!(template.params.len(), known.len(), "{proposal:?}");
}

#[test]
fn statements_become_queries() {
    for (sql, types, call, expected) in [
        ("SELECT * FROM product", "", "all", "SELECT * FROM product"),
        ("select count(*) from product ; -- x", "", "count", "select count(*) from product"),
        ("/* app */ SELECT id FROM p WHERE p.category_id = $1 /* web */;", "integer", "by category {category_id:int}", "SELECT id FROM p WHERE p.category_id = {category_id}"),
        ("SELECT id FROM p WHERE a = $1 AND \"categoryId\" = $2", "text uuid", "by a {a:text} category {category_id:uuid}", "SELECT id FROM p WHERE a = {a} AND \"categoryId\" = {category_id}"),
        ("SELECT id FROM p WHERE a = $1 AND b = $1", "text", "by a {a:text}", "SELECT id FROM p WHERE a = {a} AND b = {a}"),
        ("SELECT id FROM p WHERE a = $3 AND a <> $1", "text text", "by a {a:text} not_a {not_a:text}", "SELECT id FROM p WHERE a = {a} AND a <> {not_a}"),
        ("SELECT id FROM p WHERE id = {id} AND row = {x}", "int text", "by id {id:int} x {x:text}", "SELECT id FROM p WHERE id = {id} AND row = {x}"),
        ("SELECT id FROM p WHERE id IN ($1, $2, $3)", "integer[]", "in id {id_list:int[]}", "SELECT id FROM p WHERE id = ANY({id_list})"),
        ("SELECT id FROM p WHERE id NOT IN ($1 /*, ... */)", "integer[]", "not_ids {not_ids:int[]}", "SELECT id FROM p WHERE id <> ALL({not_ids})"),
        ("SELECT id FROM p WHERE category_id IN ($1::int, $2::int)", "integer[]", "in category {category_ids:int[]}", "SELECT id FROM p WHERE category_id = ANY({category_ids})"),
        ("SELECT id FROM p WHERE status IN ($1::shop.\"Status\", $2::shop.\"Status\")", "shop.\"Status\"[]", "in status {statuses:text[]}", "SELECT id FROM p WHERE status = ANY({statuses}::shop.\"Status\"[])"),
        ("SELECT id FROM p WHERE a = ANY(ARRAY[$1, $2]::text[])", "text[]", "in a {as:text[]}", "SELECT id FROM p WHERE a = ANY({as})"),
        ("SELECT id FROM p WHERE a = ANY ($1)", "text[]", "in a {as:text[]}", "SELECT id FROM p WHERE a = ANY ({as})"),
        ("SELECT id FROM p WHERE a IN ($1, 3) AND b IN ($1, $2)", "int int", "by a {a:int} b {b:int}", "SELECT id FROM p WHERE a IN ({a}, 3) AND b IN ({a}, {b})"),
        ("SELECT id FROM p WHERE tags && $1 AND data @> $2", "text[] jsonb", "tags {tags:text[]}", ""),
        ("SELECT id FROM p WHERE price BETWEEN $1 AND $2 ORDER BY id LIMIT 20 OFFSET 40", "numeric numeric bigint bigint", "min_price {min_price:numeric} max_price {max_price:numeric} [limit {limit:int=20}] [offset {offset:int=40}]", "SELECT id FROM p WHERE price BETWEEN {min_price} AND {max_price} ORDER BY id LIMIT {limit} OFFSET {offset}"),
        ("SELECT id FROM p ORDER BY id OFFSET $1 ROWS FETCH NEXT $2 ROWS ONLY", "bigint bigint", "offset {offset:int} limit {limit:int}", "SELECT id FROM p ORDER BY id OFFSET {offset} ROWS FETCH NEXT {limit} ROWS ONLY"),
        ("SELECT id FROM p FETCH FIRST 5 ROWS ONLY", "bigint", "all [limit {limit:int=5}]", "SELECT id FROM p FETCH FIRST {limit} ROWS ONLY"),
        ("SELECT id FROM p WHERE a = $1 LIMIT 1", "text", "by a {a:text}", "SELECT id FROM p WHERE a = {a} LIMIT 1"),
        ("SELECT id FROM p WHERE EXISTS (SELECT 1 FROM r LIMIT 5)", "", "all", "SELECT id FROM p WHERE EXISTS (SELECT 1 FROM r LIMIT 5)"),
        ("SELECT id FROM p LIMIT $1", "bigint", "limit {limit:int}", "SELECT id FROM p LIMIT {limit}"),
        ("SELECT id FROM p WHERE ($1 IS NULL OR price <= $1) AND a = $2", "numeric text", "by a {a:text} [max_price {max_price:numeric}]", "SELECT id FROM p WHERE ({max_price} IS NULL OR price <= {max_price}) AND a = {a}"),
        ("SELECT id FROM p WHERE lower(name) LIKE lower($1)", "text", "name {name:text}", "SELECT id FROM p WHERE lower(name) LIKE lower({name})"),
        ("SELECT id FROM p WHERE at > now() - interval $1", "interval", "value {value:text}", ""),
        ("SELECT id FROM p WHERE f($1) AND c = $2", "integer real", "", "SELECT id FROM p WHERE f({value}::integer) AND c = {c}::real"),
        ("SELECT id, $1 AS \"kind\" FROM p WHERE ip = $2", "text inet", "", "SELECT id, {kind} AS \"kind\" FROM p WHERE ip = {ip}::inet"),
        ("SELECT id FROM p WHERE a = $1::varchar(3) AND b = CAST($2 AS date)", "varchar date", "", "SELECT id FROM p WHERE a = {a}::varchar(3) AND b = CAST({b} AS date)"),
        ("SELECT id FROM p WHERE \"größe\" = $1 AND \"\"\"\" = $2", "int int", "by gr__e {gr__e:int} value {value:int}", "SELECT id FROM p WHERE \"größe\" = {gr__e} AND \"\"\"\" = {value}"),
        ("SELECT r.id FROM review r JOIN product p ON true WHERE p.id = $1 AND r.product_id = $2", "int int", "by product {product_id:int} product {product_id_2:int}", "SELECT r.id FROM review r JOIN product p ON true WHERE p.id = {product_id} AND r.product_id = {product_id_2}"),
        ("SELECT E'\\'$1', $$ $2 $$, '{1}', U.x FROM u WHERE queue ILIKE $1", "text", "queue_like {queue_like:text}", "SELECT E'\\'$1', $$ $2 $$, '{1}', U.x FROM u WHERE queue ILIKE {queue_like}"),
        ("SELECT id FROM p WHERE queue > $1", "int", "min_queue {min_queue:int}", "SELECT id FROM p WHERE queue > {min_queue}"),
        ("SELECT id FROM p WHERE $1 = ANY(tags)", "text", "by tags {tags:text}", "SELECT id FROM p WHERE {tags} = ANY(tags)"),
        ("SELECT id FROM p WHERE a = (SELECT x[$1] FROM y)", "integer", "value {value:int}", "SELECT id FROM p WHERE a = (SELECT x[{value}::integer] FROM y)"),
    ] {
        let found = propose(sql, types, None).unwrap_or_else(|error| panic!("{sql}: {error}"));
        check(&found);
        if !call.is_empty() && !expected.is_empty() {
            assert_eq!(found.call, call, "{sql}");
        }
        if !expected.is_empty() {
            // A long one has a line for each clause.
            assert_eq!(found.sql.replace('\n', " "), expected, "{sql}");
        }
    }
}

#[test]
fn what_is_no_one_select_is_refused() {
    for (sql, reason) in [
        ("", "is empty"),
        (" -- x", "is empty"),
        (";;", "is empty"),
        ("SELECT 1; SELECT 2", "more follows the ';'"),
        ("insert into p values ($1)", "changes rows (INSERT)"),
        ("(UPDATE p SET a = 1)", "changes rows (UPDATE)"),
        ("WITH x AS (DELETE FROM p RETURNING 1) SELECT * FROM x", "changes rows (DELETE)"),
        ("WITH x AS (SELECT 1) MERGE INTO p", "changes rows (MERGE)"),
        ("SELECT 1 FROM p FOR UPDATE", "locks rows"),
        ("SELECT 1 FROM (SELECT 1 FROM p FOR NO KEY UPDATE SKIP LOCKED) x", "locks rows"),
        ("SELECT 1 FROM p FOR KEY SHARE OF p", "locks rows"),
        ("EXPLAIN SELECT 1", "begins with EXPLAIN"),
        ("$1", "begins with $1"),
        ("SELECT '", "not closed"),
        ("SELECT U&\"x\"", "not closed"),
        ("SELECT ((1)", "brackets"),
    ] {
        let error = Draft::read(sql).err().unwrap_or_else(|| panic!("{sql}")).to_string();
        assert!(error.contains(reason), "{sql}: {error}");
    }
    let many: Vec<String> = (1..400).map(|number| format!("a > ${number}")).collect();
    assert_eq!(Draft::read(&format!("SELECT {}", many.join(", "))).err(), Some(Refused::TooManyParameters));
    let error = propose("SELECT f($1)", "anyelement", None).unwrap_err();
    assert_eq!(error.to_string(), "{value} is anyelement, which no client can type");
}

#[test]
fn a_call_may_be_given() {
    let sql = "SELECT id FROM p WHERE b = $2 AND a = $1 ORDER BY id LIMIT 5";
    for (said, call, text) in [
        ("of {a} {b}", "of {a:int} {b:text}", "b = {b} AND a = {a} ORDER BY id LIMIT 5"),
        ("of {x} {y:text}", "of {x:int} {y:text}", "b = {y} AND a = {x} ORDER BY id LIMIT 5"),
        (
            "of {a} {b} [limit {limit}]",
            "of {a:int} {b:text} [limit {limit:int=5}]",
            "b = {b} AND a = {a} ORDER BY id LIMIT {limit}",
        ),
        ("of {a} {b} {limit=7}", "of {a:int} {b:text} {limit:int=7}", "b = {b} AND a = {a} ORDER BY id LIMIT {limit}"),
        ("of {a} {b} {limit:int}", "of {a:int} {b:text} {limit:int}", "b = {b} AND a = {a} ORDER BY id LIMIT {limit}"),
    ] {
        let found = propose(sql, "text int bigint", Some(said)).unwrap_or_else(|error| panic!("{said}: {error}"));
        check(&found);
        assert_eq!((&*found.call, &found.sql[23..]), (call, text), "{said}");
    }
    for (said, reason) in [
        ("of {a}", "CALL: the statement's arguments are {b} {a} {limit}"),
        ("of {a} {b} {c}", "CALL: the statement's arguments are {b} {a} {limit}"),
        ("of {a} {b:int}", "CALL: {b} is text in the statement, and int in the call"),
        ("of {a {b}", "CALL:"),
        ("of {a", "CALL: '}' is missing"),
        ("{b} {a}", "CALL: a call may begin with an argument only if"),
        ("queue {a} {b}", "reserved"),
    ] {
        let error = propose(sql, "text int bigint", Some(said)).expect_err(said).to_string();
        assert!(error.contains(reason), "{said}: {error}");
    }
    let own = propose("SELECT id FROM p WHERE a = {x} AND b = {y}", "int int", Some("of {x}")).unwrap_err();
    assert_eq!(own.to_string(), "CALL: the statement's arguments are {x} {y}");
    let none = propose("SELECT id FROM p", "", Some("of {x}")).unwrap_err();
    assert_eq!(none.to_string(), "CALL: the statement's arguments are none");
}

#[test]
fn a_call_that_is_taken_gets_a_number() {
    let draft = Draft::read("SELECT id FROM p WHERE category_id = $1").unwrap();
    let taken = ["by category {category_id:int}", "by category_2 {category_id:int}"];
    let found =
        draft.propose(&[parameter("int")], &Naming::AsTheyAre, None, &|call| !taken.contains(&call.text())).unwrap();
    assert_eq!(found.call, "by category_3 {category_id:int}");
    let none = draft.propose(&[parameter("int")], &Naming::AsTheyAre, None, &|_| false).unwrap_err();
    assert!(none.to_string().contains("are taken"), "{none}");
}

#[test]
fn statements_of_orms_go_in_as_they_are() {
    let mut found = String::new();
    for line in ORMS.lines() {
        let (name, rest) = line.split_once('\t').unwrap();
        let (_, sql) = rest.split_once('\t').unwrap();
        let draft = Draft::read(sql).unwrap();
        let types: Vec<ParameterType> = (0..draft.slots.len()).map(|slot| parameter(&cast_of(&draft, slot))).collect();
        let proposal = draft.propose(&types, &Naming::AsTheyAre, None, &|_| true).unwrap();
        check(&proposal);
        writeln!(found, "## {name}\n{}\n{}", proposal.call, proposal.sql).unwrap();
    }
    if std::env::var("BEAR_BLESS").is_ok() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/core/propose/query/tests/orms.txt"), &found).unwrap();
    }
    for (line, expected) in found.lines().zip(PROPOSED.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(found.len(), PROPOSED.len());
}

/// The type that the statement casts a parameter to; that of LIMIT, where it casts none.
fn cast_of(draft: &Draft, slot: usize) -> String {
    let cast = draft.uses_of(slot).find_map(|of| of.cast.as_ref());
    cast.map_or("bigint".to_owned(), |cast| cast.text.trim_start_matches(':').to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_statement_panics(
        words in proptest::collection::vec(
            prop_oneof![
                Just("SELECT"), Just("FROM"), Just("p"), Just("\"c\""), Just("."), Just("="), Just("IN"), Just("("),
                Just(")"), Just(","), Just("$1"), Just("$2"), Just("{x}"), Just("::"), Just("int"), Just("["), Just("]"),
                Just("ANY"), Just("ARRAY"), Just("LIMIT"), Just("5"), Just("BETWEEN"), Just("AND"), Just("NOT"),
                Just("AS"), Just("*"), Just("IS NULL"), Just("interval"), Just("WITH"), Just("UNION"), Just("DISTINCT"),
                Just("coalesce"), Just("'x'"), Just("timestamp"), Just("time"), Just("zone"), Just("FETCH"), Just("FIRST"),
            ],
            0..30,
        ),
    ) {
        let sql = format!("SELECT {}", words.join(" "));
        if let Ok(draft) = Draft::read(&sql) {
            let types: Vec<ParameterType> = (0..draft.slots.len()).map(|_| parameter("int")).collect();
            let columns = vec![ResultColumn { name: "a".to_owned(), origin: Some((1, 1)) }; words.len() % 4];
            let naming = draft.naming(&columns);
            if let Ok(proposal) = draft.propose(&types, &naming, None, &|_| true) {
                prop_assert!(CallPattern::parse(&proposal.call).is_ok(), "{}", proposal.call);
            }
        }
    }
}
