use super::*;
use crate::core::values::value::ScalarType;

fn rule(tenant: TenantSource) -> Rule {
    Rule { section: 3, source: column("id", true), id: Some(ScalarType::Int), tenant, compared: None }
}

fn column(name: &str, in_identity: bool) -> IdSource {
    IdSource::Column { name: name.into(), in_identity }
}

fn bound(rule: Rule) -> BoundRules {
    BoundRules::bind(&[rule], &["id".into(), "tenant".into(), "note".into()]).unwrap()
}

fn tuple<'a>(cells: &[Cell<'a>]) -> Tuple<'a> {
    Tuple { key_only: false, cells: cells.to_vec() }
}

fn key<'a>(cells: &[Cell<'a>]) -> Tuple<'a> {
    Tuple { key_only: true, cells: cells.to_vec() }
}

const fn text(text: &str) -> Cell<'_> {
    Cell::Text(text.as_bytes())
}

fn tenant_column(in_identity: bool) -> TenantSource {
    TenantSource::Column { name: "tenant".into(), ty: ScalarType::Text, in_identity }
}

/// `Some(lines)` of what was gathered of section 3, sorted; None is all of it.
fn gathered(rules: &BoundRules, changes: &[RowChange<'_>]) -> Option<Vec<String>> {
    let mut gathered = Gathered::default();
    changes.iter().for_each(|change| gathered.add(rules, change, None));
    let rows = match gathered.sections.remove(&3) {
        None => GatheredRows::default(),
        Some(GatheredSection::All) => return None,
        Some(GatheredSection::Some(rows)) => rows,
    };
    let mut lines: Vec<String> = rows.left.iter().map(|id| format!("left {id}")).collect();
    for (tenant, ids) in &rows.ids {
        lines.extend(ids.iter().map(|(id, same)| match same {
            None => format!("{tenant:?} {id}"),
            Some(same) => format!("{tenant:?} {id}, as it was: {same:b}"),
        }));
    }
    for ((statement, _), keys) in &rows.keys {
        lines.extend(keys.keys().map(|key| format!("{statement}: {key}")));
    }
    lines.extend(rows.whole.iter().map(|tenant| format!("all of {tenant:?}")));
    for (check, keys) in &rows.seen {
        lines.extend(keys.keys().map(|key| format!("{key} if {check} has it not")));
    }
    lines.sort();
    Some(lines)
}

fn lines(lines: &[&str]) -> Option<Vec<String>> {
    Some(lines.iter().map(|line| (*line).to_owned()).collect())
}

#[test]
fn old_and_new_ids_count() {
    use Cell::{Null, Unchanged};
    let rules = bound(rule(TenantSource::None));
    let new = || tuple(&[text("2"), Null, Null]);
    for (change, expected) in [
        (RowChange::Insert(new()), lines(&["None 2"])),
        (RowChange::Insert(tuple(&[Null, Null, Null])), lines(&[])),
        (RowChange::Insert(tuple(&[text("+02"), Null, Null])), lines(&["None 2"])),
        (RowChange::Insert(tuple(&[text("x"), Null, Null])), None),
        (RowChange::Delete(key(&[text("2"), Null, Null])), lines(&["None 2"])),
        (RowChange::Delete(key(&[Null, text("2"), Null])), None),
        (RowChange::Update { old: None, new: new() }, lines(&["None 2"])),
        (RowChange::Update { old: Some(key(&[text("1"), Null, Null])), new: new() }, lines(&["None 1", "None 2"])),
        (RowChange::Update { old: Some(tuple(&[Null, Null, Null])), new: new() }, lines(&["None 2"])),
        (RowChange::Update { old: None, new: tuple(&[Unchanged, Null, Null]) }, None),
        (
            RowChange::Update { old: Some(key(&[text("1"), Null, Null])), new: tuple(&[Unchanged, Null, Null]) },
            lines(&["None 1"]),
        ),
        (RowChange::Update { old: None, new: tuple(&[text("2"), Null, Unchanged]) }, lines(&["None 2"])),
    ] {
        assert_eq!(gathered(&rules, std::slice::from_ref(&change)), expected, "{change:?}");
    }
}

#[test]
fn tenants_are_told_where_the_row_bears_them() {
    use Cell::Null;
    let new = || tuple(&[text("2"), text("a"), Null]);
    let (known, unknown) = ("Known(\"a\") 2", "Unknown 2");
    for (source, change, expected) in [
        (tenant_column(false), RowChange::Insert(new()), lines(&[known])),
        (tenant_column(false), RowChange::Delete(key(&[text("2"), Null, Null])), lines(&[unknown])),
        (tenant_column(true), RowChange::Delete(key(&[text("2"), text("a"), Null])), lines(&[known])),
        // It may have moved here from a tenant that is not told.
        (tenant_column(false), RowChange::Update { old: None, new: new() }, lines(&[known, "left 2"])),
        (tenant_column(true), RowChange::Update { old: None, new: new() }, lines(&[known])),
        (
            tenant_column(true),
            RowChange::Update { old: Some(tuple(&[text("2"), text("b"), Null])), new: new() },
            lines(&[known, "Known(\"b\") 2"]),
        ),
        (
            tenant_column(false),
            RowChange::Update { old: Some(key(&[text("1"), Null, Null])), new: new() },
            lines(&[known, "Unknown 1"]),
        ),
        (TenantSource::Unknown, RowChange::Insert(new()), lines(&[unknown])),
    ] {
        assert_eq!(
            gathered(&bound(rule(source.clone())), std::slice::from_ref(&change)),
            expected,
            "{source:?} {change:?}"
        );
    }
}

#[test]
fn more_rows_than_are_kept_are_all_rows() {
    let rules = bound(rule(TenantSource::None));
    let ids: Vec<String> = (0..=MAX_ROWS).map(|id| id.to_string()).collect();
    let changes: Vec<_> = ids.iter().map(|id| RowChange::Insert(tuple(&[text(id), Cell::Null, Cell::Null]))).collect();
    assert_eq!(gathered(&rules, &changes[1..]).unwrap().len(), MAX_ROWS);
    assert_eq!(gathered(&rules, &changes), None);
    // The same row again is one row.
    assert_eq!(gathered(&rules, &vec![changes[0].clone(); MAX_ROWS + 1]), lines(&["None 0"]));
}

#[test]
fn keys_of_statements_and_sections_without_ids() {
    let select = Rule { source: IdSource::Select { column: "id".into(), statement: 7 }, ..rule(TenantSource::None) };
    let change = RowChange::Insert(tuple(&[text("x 1"), Cell::Null, Cell::Null]));
    assert_eq!(gathered(&bound(select), std::slice::from_ref(&change)), lines(&["7: x 1"]));
    let whole = Rule { source: IdSource::Whole, id: None, ..rule(TenantSource::None) };
    assert_eq!(gathered(&bound(whole), &[change]), None);
}

#[test]
fn merging_keeps_everything() {
    let rules = bound(rule(TenantSource::None));
    let of = |id| {
        let mut gathered = Gathered::default();
        gathered.add(&rules, &RowChange::Insert(tuple(&[text(id), Cell::Null, Cell::Null])), None);
        gathered
    };
    let (mut one, mut all) = (of("1"), Gathered::default());
    one.merge(of("2"));
    assert_eq!(one.len(), 2);
    all.add_all(&rules);
    one.merge(all.clone());
    assert_eq!(one, all);
    one.merge(of("3"));
    assert_eq!(one, all);
}

#[test]
fn a_column_that_is_not_there_is_named() {
    assert_eq!(BoundRules::bind(&[rule(TenantSource::None)], &["x".into()]), Err("id".into()));
    assert_eq!(BoundRules::bind(&[rule(tenant_column(true))], &["id".into()]), Err("tenant".into()));
}

/// Kind of change × what the old row tells × form of mapping: what is dropped.
#[test]
fn what_is_dropped_is_decided_by_the_form_of_the_mapping_and_by_what_the_old_row_tells() {
    use Cell::{Null, Unchanged};
    // Of the columns id, link, note; the statement reads link, and an old row bears it or not.
    let moved = |columns: Option<bool>, inserts| {
        let columns = columns.map(|in_identity| [("tenant".into(), in_identity)].into());
        IdSource::Moved(Moved { columns, inserts, check: None })
    };
    let select = || IdSource::Select { column: "id".into(), statement: 7 };
    let row = |link, note| tuple(&[text("1"), text(link), text(note)]);
    let (same, other) = (row("a", "y"), row("b", "x"));
    let full = || row("a", "x");
    let key_alone = || key(&[text("1"), Null, Null]);
    let identity = || key(&[text("1"), text("a"), Null]);
    let update = |old: Option<Tuple<'static>>, new: &Tuple<'static>| RowChange::Update { old, new: new.clone() };
    let toasted = tuple(&[text("1"), Unchanged, text("y")]);

    let changes = [
        ("comes", RowChange::Insert(full())),
        ("goes, its key told", RowChange::Delete(key_alone())),
        ("goes, told whole", RowChange::Delete(full())),
        ("changes elsewhere, untold", update(None, &same)),
        ("changes elsewhere, told whole", update(Some(full()), &same)),
        ("changes elsewhere, link not sent", update(Some(full()), &toasted)),
        ("moves, untold", update(None, &other)),
        ("moves, its key told", update(Some(key_alone()), &other)),
        ("moves, told by the identity", update(Some(identity()), &other)),
        ("moves, told whole", update(Some(full()), &other)),
        ("seen", RowChange::Seen(full())),
    ];
    const NONE: &[&str] = &[];
    const ALL: &[&str] = &["all"];
    const ID: &[&str] = &["None 1"];
    const KEY: &[&str] = &["7: 1"];
    for (source, expected) in [
        (column("id", true), [ID; 11]),
        (column("id", false), [ID, ID, ID, ALL, ID, ID, ALL, ID, ID, ID, ID]),
        (select(), [KEY; 11]),
        (moved(None, true), [ALL; 11]),
        (moved(None, false), [NONE, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL]),
        // Untold means unchanged where the identity holds it.
        (moved(Some(true), false), [NONE, ALL, ALL, NONE, NONE, NONE, NONE, ALL, ALL, ALL, ALL]),
        (moved(Some(false), false), [NONE, ALL, ALL, ALL, NONE, NONE, ALL, ALL, ALL, ALL, ALL]),
        (moved(Some(false), true), [ALL, ALL, ALL, ALL, NONE, NONE, ALL, ALL, ALL, ALL, ALL]),
        (IdSource::Whole, [ALL; 11]),
    ] {
        let rules = bound(Rule { source: source.clone(), ..rule(TenantSource::None) });
        for ((name, change), expected) in changes.iter().zip(expected) {
            let found = gathered(&rules, std::slice::from_ref(change));
            let expected = if expected == ALL { None } else { lines(expected) };
            assert_eq!(found, expected, "{source:?}, a row that {name}");
        }
    }
}

#[test]
fn all_is_all_of_the_tenant_where_old_and_new_row_tell_it() {
    use Cell::Null;
    let moved = |tenant| {
        let source = IdSource::Moved(Moved { columns: None, inserts: false, check: None });
        bound(Rule { source, ..rule(tenant) })
    };
    let of = |tenant| tuple(&[text("1"), text(tenant), Null]);
    let (a, b) = ("all of Known(\"a\")", "all of Known(\"b\")");
    for (in_identity, change, expected) in [
        (true, RowChange::Insert(of("a")), lines(&[])),
        (true, RowChange::Delete(of("a")), lines(&[a])),
        (false, RowChange::Delete(of("a")), lines(&[a])),
        (false, RowChange::Delete(key(&[text("1"), Null, Null])), None),
        (true, RowChange::Update { old: None, new: of("a") }, lines(&[a])),
        (false, RowChange::Update { old: None, new: of("a") }, None),
        (true, RowChange::Update { old: Some(of("a")), new: of("b") }, lines(&[a, b])),
        (false, RowChange::Update { old: Some(of("a")), new: of("b") }, lines(&[a, b])),
        (false, RowChange::Update { old: Some(key(&[text("2"), Null, Null])), new: of("b") }, None),
        (true, RowChange::Update { old: Some(tuple(&[text("1"), Null, Null])), new: of("b") }, lines(&[b])),
        (true, RowChange::Seen(of("a")), lines(&[a])),
    ] {
        let found = gathered(&moved(tenant_column(in_identity)), std::slice::from_ref(&change));
        assert_eq!(found, expected, "{in_identity} {change:?}");
    }
    for tenant in [TenantSource::None, TenantSource::Unknown] {
        assert_eq!(gathered(&moved(tenant), &[RowChange::Delete(of("a"))]), None);
    }
    // The id is not told, the tenant is.
    let untold = bound(Rule { source: column("note", false), ..rule(tenant_column(true)) });
    assert_eq!(gathered(&untold, &[RowChange::Delete(key(&[text("1"), text("a"), Null]))]), lines(&[a]));
    assert_eq!(gathered(&untold, &[RowChange::Update { old: None, new: of("a") }]), lines(&[a]));
}

#[test]
fn rows_that_look_alike_are_asked_for_and_those_that_differ_have_moved() {
    let moved = Moved { columns: Some([("note".into(), true)].into()), inserts: false, check: Some(("id".into(), 5)) };
    let rules = |tenant| bound(Rule { source: IdSource::Moved(moved.clone()), ..rule(tenant) });
    let row = |id, tenant, note| RowChange::Seen(tuple(&[text(id), text(tenant), note]));
    let one = || row("1", "a", text("x"));
    let asked = |id: &str| lines(&[&format!("{id} if 5 has it not")]);
    assert_eq!(gathered(&rules(TenantSource::None), &[one()]), asked("1"));
    assert_eq!(gathered(&rules(TenantSource::None), &[one(), one()]), asked("1"));
    assert_eq!(gathered(&rules(TenantSource::None), &[one(), row("1", "a", text("y"))]), None);
    assert_eq!(gathered(&rules(TenantSource::None), &[one(), row("1", "a", Cell::Null)]), None);
    let (a, b) = ("all of Known(\"a\")", "all of Known(\"b\")");
    let tenants = || rules(tenant_column(true));
    assert_eq!(gathered(&tenants(), &[one(), row("1", "b", text("x"))]), lines(&["1 if 5 has it not", a, b]));
    // A row of no key could be any.
    assert_eq!(gathered(&tenants(), &[RowChange::Seen(tuple(&[Cell::Null, text("a"), text("x")]))]), None);

    // Of two transactions together.
    let of = |changes: &[RowChange<'_>]| {
        let mut gathered = Gathered::default();
        changes.iter().for_each(|change| gathered.add(&rules(TenantSource::None), change, None));
        gathered
    };
    let mut both = of(&[one()]);
    both.merge(of(&[one()]));
    assert_ne!(both.sections[&3], GatheredSection::All);
    both.merge(of(&[row("1", "a", text("y"))]));
    assert_eq!(both.sections[&3], GatheredSection::All);
}

/// By the note (1); the table has no such column as the next (10), and the last (100) is not told.
fn compared() -> BoundRules {
    let compared = vec![Compared::By("note".into()), Compared::Absent, Compared::Untold];
    bound(Rule { compared: Some(compared.into()), ..rule(tenant_column(true)) })
}

#[test]
fn an_update_tells_which_columns_are_as_they_were() {
    let rules = compared();
    let row = |note: Cell<'static>| tuple(&[text("5"), text("a"), note]);
    let known = |same: &str| lines(&[&format!("Known(\"a\") 5, as it was: {same}")]);
    let unknown = || lines(&["Known(\"a\") 5"]);
    let update = |old, new| RowChange::Update { old, new };
    for (old, new, expected) in [
        (Some(row(text("x"))), row(text("x")), known("11")),
        (Some(row(text("x"))), row(text("y")), known("10")),
        (Some(row(Cell::Null)), row(Cell::Null), known("11")),
        (Some(row(Cell::Null)), row(text("")), known("10")),
        // A large value that was not sent is as it was; one that cannot be understood may be any.
        (Some(row(text("x"))), row(Cell::Unchanged), known("11")),
        (Some(row(text("x"))), row(Cell::Unclear), known("10")),
        (Some(row(Cell::Unclear)), row(text("x")), known("10")),
        (Some(row(Cell::Unclear)), row(Cell::Unclear), known("10")),
        (Some(row(Cell::Unclear)), row(Cell::Unchanged), known("10")),
        // Of an old row that bears its key alone nothing else is known.
        (Some(key(&[text("5"), text("a"), Cell::Null])), row(Cell::Null), known("10")),
        (None, row(text("x")), unknown()),
    ] {
        assert_eq!(gathered(&rules, &[update(old.clone(), new.clone())]), expected, "{old:?} {new:?}");
    }
    // A row that comes, goes, or is told without what became of it.
    for change in
        [RowChange::Insert(row(text("x"))), RowChange::Delete(row(text("x"))), RowChange::Seen(row(text("x")))]
    {
        assert_eq!(gathered(&rules, &[change]), unknown());
    }
    let moved = |id, tenant| update(Some(row(text("x"))), tuple(&[text(id), text(tenant), text("x")]));
    assert_eq!(gathered(&rules, &[moved("6", "a")]), lines(&["Known(\"a\") 5", "Known(\"a\") 6"]));
    assert_eq!(gathered(&rules, &[moved("5", "b")]), lines(&["Known(\"a\") 5", "Known(\"b\") 5"]));
}

#[test]
fn several_changes_of_a_row_leave_as_it_was_what_each_of_them_does() {
    let rules = compared();
    let row = |note: &'static str| tuple(&[text("5"), text("a"), text(note)]);
    let update = |old, new| RowChange::Update { old: Some(row(old)), new: row(new) };
    // There and back: who read in between has the other one.
    for (changes, expected) in [
        (vec![update("x", "x"), update("x", "x")], "Known(\"a\") 5, as it was: 11"),
        (vec![update("x", "y"), update("y", "x")], "Known(\"a\") 5, as it was: 10"),
        (vec![update("x", "x"), RowChange::Delete(row("x")), RowChange::Insert(row("x"))], "Known(\"a\") 5"),
    ] {
        assert_eq!(gathered(&rules, &changes), lines(&[expected]));
        // The same in transactions of their own, and told together.
        let mut all = Gathered::default();
        for change in &changes {
            let mut one = Gathered::default();
            one.add(&rules, change, None);
            all.merge(one);
        }
        let mut together = Gathered::default();
        changes.iter().for_each(|change| together.add(&rules, change, None));
        let ids = |gathered: &Gathered| match &gathered.sections[&3] {
            GatheredSection::Some(rows) => rows.ids.clone(),
            GatheredSection::All => panic!("a row is told"),
        };
        assert_eq!(ids(&all), ids(&together));
    }
}
