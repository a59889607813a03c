use super::*;

fn rule(tenant: TenantSource) -> Rule {
    Rule { section: 3, source: IdSource::Column("id".into()), id: Some(ScalarType::Int), tenant }
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
        lines.extend(ids.iter().map(|id| format!("{tenant:?} {id}")));
    }
    for ((statement, _), keys) in &rows.keys {
        lines.extend(keys.iter().map(|key| format!("{statement}: {key}")));
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
