//! What is proposed for known databases, and that whatever is proposed is a catalog.

use std::fmt::Write;

use super::facts::{Feed, Untold};
use super::fixtures::database;
use super::{propose, NoProposal, Wanted};
use crate::core::catalog::{read_catalog, Catalog};

const SHOP: &str = "
    category: id int key default, name text ! unique, parent int >category indexed
    line: product_id int key >>product, number int key, user_id uuid >user, note text
    log: at text
    product: id int key default, name text !, price numeric !, category_id int ! >category indexed, mood mood, sizes ints, more json default, doubled numeric generated
    tag: name text key, data json, limit int
    user: id uuid key default, name text !, email text unique, password text !
    user_tag: user_id uuid key >>user, tag text key >tag indexed
    seen: id int | view";

#[track_caller]
fn read(text: &str) -> Catalog {
    read_catalog::parse(text, &mut || 0).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// By section, calls and jobs with their fields.
fn shown(catalog: &Catalog) -> String {
    let mut out = String::new();
    for section in catalog.sections.iter() {
        writeln!(out, "{}", section.name).unwrap();
        for query in &section.queries {
            writeln!(out, "  {}", query.call.text()).unwrap();
        }
        for job in &section.jobs {
            let fields = job.data.iter().map(|field| {
                let optional = if field.optional { "?" } else { "" };
                format!("{} {}{optional}", field.name, field.ty)
            });
            writeln!(out, "  {}({})", job.name, fields.collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    out
}

#[test]
fn a_known_database_has_these_queries_and_jobs() {
    let text = propose(&database(SHOP), &Wanted::default()).unwrap();
    assert_eq!(shown(&read(&text)), include_str!("tests/shop.txt"), "{text}");
}

#[test]
fn what_is_left_out_has_its_reason() {
    let text = propose(&database(SHOP), &Wanted::default()).unwrap();
    let (_, left_out) = text.split_once("# Left out:\n").unwrap();
    assert_eq!(left_out, include_str!("tests/left_out.txt"));
}

#[test]
fn there_may_be_nothing_to_propose() {
    for (lines, tables, section, expected) in [
        ("", &[][..], None, NoProposal::NoTables),
        ("v: id int | view", &[], None, NoProposal::NoTables),
        ("t: id int key", &["x"], None, NoProposal::NoTable("x".into())),
        ("t: id int key", &[], Some("x"), NoProposal::NoSection("x".into())),
        ("t: id int key", &["t", "t"], Some("x"), NoProposal::Several(2)),
    ] {
        let wanted =
            Wanted { tables: tables.iter().map(|name| (*name).into()).collect(), section: section.map(Into::into) };
        assert_eq!(propose(&database(lines), &wanted), Err(expected), "{lines}");
    }
    for (mark, why) in [
        ("view", "a view"),
        ("foreign", "a foreign table"),
        ("unlogged", "unlogged"),
        ("partition", "a partition"),
        ("inherited", "others inherit"),
        ("secured", "row security"),
        ("closed", "the role may not read its key"),
        ("extension", "an extension's own"),
    ] {
        let wanted = Wanted { tables: ["t".into()].into(), section: None };
        let nothing =
            propose(&database(&format!("other: id int key\nt: id int key | {mark}")), &wanted).unwrap_err().to_string();
        assert!(nothing.starts_with(&format!("nothing to propose: t: {why}")), "{nothing}");
    }
    for columns in ["id int", "id int unique", "id json key", "id ints key", "id pair key"] {
        let wanted = Wanted { tables: ["t".into()].into(), section: None };
        let nothing = propose(&database(&format!("t: {columns}")), &wanted);
        assert!(matches!(nothing, Err(NoProposal::Nothing(_))), "{columns}: {nothing:?}");
    }
}

/// The lines behind a heading, up to the next empty one.
fn lines_of<'a>(text: &'a str, head: &str) -> &'a str {
    let (before, after) = text.split_once(head).unwrap_or_else(|| panic!("{head}: {text}"));
    let begin = before.rfind("\n\n").map_or(0, |at| at + 2);
    &text[begin..before.len() + after.find("\n\n").map_or(after.len(), |at| at + head.len())]
}

#[test]
fn what_is_sent_as_null_is_written_and_what_is_absent_stays() {
    let text =
        propose(&database("t: id int key default, a text ! default, b text !, c text default"), &Wanted::default())
            .unwrap();
    read(&text);
    let (insert, update) = (lines_of(&text, "[t.job.INSERT]"), lines_of(&text, "[t.job.UPDATE]"));
    for value in
        ["CASE WHEN drawn.data ? 'a' THEN drawn.a ELSE ('d')::text END", "drawn.b", "CASE WHEN drawn.data ? 'c'"]
    {
        assert!(insert.contains(value), "{value}: {insert}");
    }
    for value in ["a = CASE WHEN job.data ? 'a' THEN job.a ELSE t.a END", "b = CASE WHEN job.data ? 'b'"] {
        assert!(update.contains(value), "{value}: {update}");
    }
}

#[test]
fn what_was_drawn_of_a_key_is_the_jobs_result() {
    for (columns, about, result) in [
        ("id int key default", "its key is drawn here, and is", "added.id AS result"),
        ("at int key, id int key default", "of its key id is drawn here, and is", "added.id AS result"),
        ("at int key indexed, id int key default", "of its key id is drawn here, and is", "added.id AS result"),
        (
            "id int key default, at uuid key default",
            "its key is drawn here, and is",
            "json_build_object('id', added.id, 'at', added.at) AS result",
        ),
        ("id int key, at int key", "Inserts one\n", ""),
    ] {
        let text = propose(&database(&format!("t: {columns}")), &Wanted::default()).unwrap();
        read(&text);
        let insert = lines_of(&text, "[t.job.INSERT]");
        assert!(insert.contains(about), "{columns}: {insert}");
        assert_eq!(insert.contains(" AS result"), !result.is_empty(), "{columns}: {insert}");
        assert!(insert.contains(result), "{columns}: {insert}");
    }
}

#[test]
fn a_key_is_drawn_as_its_default_says() {
    for (columns, drawn) in [
        ("id int key default", "SELECT job.*, nextval('t_seq') AS new_id"),
        (
            "id int key default shifted",
            "SELECT job.*, coalesce(job.id, ((1000000 + nextval('public.t_seq'::regclass)))::int) AS new_id",
        ),
    ] {
        let text = propose(&database(&format!("t: {columns}")), &Wanted::default()).unwrap();
        read(&text);
        assert!(lines_of(&text, "[t.job.INSERT]").contains(drawn), "{text}");
    }
}

#[test]
fn bytes_are_sent_in_hex() {
    let text = propose(&database("t: id int key, pdf bytea"), &Wanted::default()).unwrap();
    read(&text);
    for job in ["INSERT", "UPDATE"] {
        let lines = lines_of(&text, &format!("[t.job.{job}]"));
        assert!(lines.contains("# Bytes are sent in hex: pdf\n"), "{lines}");
        assert!(lines.contains("decode(ltrim(job.pdf, '\\\\x'), 'hex')"), "{lines}");
    }
}

#[test]
fn fields_that_are_called_otherwise_than_their_columns_are_named() {
    let text = propose(&database("t: id int key, n int, a'q int, b int"), &Wanted::default()).unwrap();
    read(&text);
    assert!(lines_of(&text, "[t.job.UPDATE]").contains("# Of columns: n_value is n, a_q is a'q\n"), "{text}");
    assert!(!lines_of(&text, "[t.job.DELETE]").contains("# Of columns"), "{text}");
}

#[test]
fn each_column_that_is_left_out_is_named() {
    let lines = "t: id int key, pair pair, words tsvector, name text unique closed, mail citext unique, j json unique";
    let text = propose(&database(lines), &Wanted::default()).unwrap();
    read(&text);
    let (_, left_out) = text.split_once("# Left out:\n").unwrap();
    for line in [
        "# - t: pair: no job brings it, for no payload has a pair\n",
        "# - t: words: of full-text search, and is not shown\n",
        "# - t: name: the role may not read it\n",
        "# - t: one by name: the role may not read name\n",
        "# - t: one by j: no call names such a value so that a change is looked up by it\n",
    ] {
        assert!(left_out.contains(line), "{line}: {left_out}");
    }
    assert!(
        text.contains("# One by mail; any change of the table counts") && text.contains("t.mail = {mail}::citext"),
        "{text}"
    );
}

#[test]
fn a_rule_that_answers_a_job_leaves_it_out() {
    let database = database("t: id int key, a int | rule=delete rule=insert");
    let text = propose(&database, &Wanted::default()).unwrap();
    assert!(
        !text.contains("[t.job.DELETE]") && !text.contains("[t.job.INSERT]") && text.contains("[t.job.UPDATE]"),
        "{text}"
    );
    assert!(text.contains("# - t: DELETE: the rule at_delete answers it"), "{text}");
}

#[test]
fn what_nobody_tells_is_said_for_the_feed_in_force() {
    let mut database = database("t: id int key, a int | trigger=insert");
    let untold =
        Untold { why: "it has no replica identity".into(), remedy: "ALTER TABLE t REPLICA IDENTITY FULL".into() };
    database.relations[0].untold = Some(untold);
    for (feed, of_trigger, of_table) in [
        (
            Feed::Nobody,
            "# With bear.feed off nobody tells what triggers write in other tables meanwhile: at_insert\n",
            false,
        ),
        (Feed::Wal, "# The change feed alone tells what triggers write in other tables meanwhile: at_insert\n", true),
        (Feed::Outbox, "# The change feed alone tells what triggers", false),
    ] {
        database.feed = feed;
        let text = propose(&database, &Wanted::default()).unwrap();
        read(&text);
        assert!(lines_of(&text, "[t.job.INSERT]").contains(of_trigger), "{text}");
        assert!(!lines_of(&text, "[t.job.UPDATE]").contains("triggers"), "{text}");
        assert_eq!(lines_of(&text, "[t]\n").contains("# what others change in t is not followed"), of_table, "{text}");
    }
}

#[test]
fn another_time_zone_is_said() {
    let mut database = database("t: id int key");
    assert!(!propose(&database, &Wanted::default()).unwrap().contains("TimeZone"));
    database.time_zone = Some("America/New_York".into());
    let text = propose(&database, &Wanted::default()).unwrap();
    assert!(text.contains("# TimeZone is America/New_York in this database, and UTC in bear's sessions"), "{text}");
    assert!(!text.contains('…'), "{text}");
    read(&text);
}

/// What begins with `_` says something of a result, and is none of its columns.
#[test]
fn no_column_of_a_result_begins_with_an_underscore() {
    let lines = "p: _id int key, _ int, _until text, _last int\n_c: _key int key, p_id int >p indexed\nÄ_p: _id int key, _id_2 int unique >p indexed, _p int >p indexed\n2fa: id int key, p int ! >p indexed\n日本: 番号 int key, _p int >p indexed";
    let text = propose(&database(lines), &Wanted::default()).unwrap();
    read(&text);
    assert_eq!(text.matches("{_id:int} counts").count(), 1, "{text}");
    for list in text.split("SELECT ").skip(1) {
        let list = list.split(" FROM ").next().unwrap();
        // What jobs name is not of a result.
        if list.contains("job.") || list.contains("added.") {
            continue;
        }
        for column in list.split(',') {
            let name = column.rsplit(['.', ' ', '"']).find(|part| !part.is_empty()).unwrap();
            assert!(!name.starts_with('_'), "{column}: {text}");
        }
    }
}

/// The names that a table and its columns may have: each is read back as a catalog, whatever meaning it has elsewhere.
#[test]
fn any_name_makes_a_catalog() {
    let names = [
        "meta", "tag", "queue", "until", "id", "ids", "jobs", "job", "row", "rows", "tenant", "n", "data", "limit",
        "after", "before", "counts", "recent", "first", "FRESH", "not", "last", "select", "Ü", "a\"b", "a'b", "{x}",
        "$1", "--", "_", "_x", "1", "a.b", "query", "table", "gone", "added", "drawn", "changed", "result", "section",
        "error",
    ];
    for table in names {
        for column in names {
            let lines = format!("{table}: {column} int key default, other_id int >{table} indexed, {column}_id text unique, _{column} json !");
            // A dot is the schema's in the fixtures.
            if table.contains('.') {
                continue;
            }
            let text = propose(&database(&lines), &Wanted::default()).unwrap();
            let catalog = read(&text);
            let queries: usize = catalog.sections.iter().map(|section| section.queries.len()).sum();
            assert!(queries >= 4, "{table}, {column}: {text}");
        }
    }
}
