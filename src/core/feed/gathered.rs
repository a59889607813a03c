//! Which rows of which sections the changed rows of a table concern, by the rules of the table.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    canonical, same_in_both, Cell, Compared, IdSource, Moved, RowChange, Rule, Same, Tenant, TenantSource, Tuple,
    MAX_ROWS,
};
use crate::core::feed::promised_rows::{Ids, PromisedRows};
use crate::mutations;

/// Rules for tuples of known columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundRules(Vec<Bound>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    rule: Rule,
    /// Of the id, or of the key.
    id_at: usize,
    tenant_at: usize,
    /// What a statement may read, and whether old rows bear it.
    read_at: Box<[(usize, bool)]>,
    /// Columns by which an old row and a new one are compared, with their bits.
    compared_at: Box<[(usize, u128)]>,
    /// Bits of what no change of the table changes.
    absent: u128,
}

impl BoundRules {
    /// Finds the rules' columns by name; a column that is not there is the error.
    pub fn bind(rules: &[Rule], columns: &[Box<str>]) -> Result<BoundRules, Box<str>> {
        let at = |name: &str| columns.iter().position(|column| **column == *name).ok_or_else(|| Box::<str>::from(name));
        let bound = |rule: &Rule| {
            let id_at = match &rule.source {
                IdSource::Column { name, .. } | IdSource::Select { column: name, .. } => at(name)?,
                IdSource::Moved(Moved { check: Some((key, _)), .. }) => at(key)?,
                IdSource::Moved(_) | IdSource::Whole => usize::MAX,
            };
            let tenant_at = match &rule.tenant {
                TenantSource::Column { name, .. } => at(name)?,
                TenantSource::None | TenantSource::Unknown => usize::MAX,
            };
            let read = match &rule.source {
                IdSource::Moved(Moved { columns: Some(columns), .. }) => &columns[..],
                _ => &[],
            };
            let read_at = read.iter().map(|(name, in_identity)| at(name).map(|at| (at, *in_identity)));
            let (mut compared_at, mut absent) = (Vec::new(), 0);
            for (bit, compared) in rule.compared.iter().flatten().enumerate() {
                match compared {
                    Compared::By(name) => compared_at.push((at(name)?, 1 << bit)),
                    Compared::Absent => absent |= 1 << bit,
                    Compared::Untold => {}
                }
            }
            let (compared_at, read_at) = (compared_at.into(), read_at.collect::<Result<_, Box<str>>>()?);
            Ok(Bound { rule: rule.clone(), id_at, tenant_at, read_at, compared_at, absent })
        };
        rules.iter().map(bound).collect::<Result<_, _>>().map(BoundRules)
    }
}

/// What one cell says.
#[derive(PartialEq, Eq)]
enum Found<'a> {
    Nothing,
    Value(&'a [u8]),
    Unclear,
}

fn find<'a>(tuple: &Tuple<'a>, at: usize) -> Found<'a> {
    match tuple.cells.get(at) {
        Some(Cell::Text(text)) => Found::Value(text),
        Some(Cell::Null) if !tuple.key_only => Found::Nothing,
        Some(Cell::Null | Cell::Unchanged | Cell::Unclear) | None => Found::Unclear,
    }
}

/// The changed rows of one or more transactions, by section.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gathered {
    pub sections: FxHashMap<usize, GatheredSection>,
}

/// Of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatheredSection {
    All,
    Some(GatheredRows),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GatheredRows {
    /// Ids in canonical form, each with what all its changes have left as it was.
    pub ids: FxHashMap<Tenant, FxHashMap<Box<str>, Same>>,
    /// Ids of rows that may have left a tenant that nobody told.
    pub left: FxHashSet<Box<str>>,
    /// Keys as they were sent, by statement and tenant, with the same.
    pub keys: FxHashMap<(usize, Tenant), FxHashMap<Box<str>, Same>>,
    /// Known tenants of which any row may have changed.
    pub whole: FxHashSet<Tenant>,
    /// Rows that are there still, or their tenant's rows may all have changed: by the number of [`Moved::check`] and key.
    pub seen: FxHashMap<usize, FxHashMap<Box<str>, SeenRow>>,
    count: usize,
}

/// A row as it was or as it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRow {
    pub tenant: Tenant,
    /// What a statement may read of it.
    image: Box<[u8]>,
}

impl Gathered {
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Rows that are kept; all rows of a section count as one.
    pub fn len(&self) -> usize {
        let of = |section: &GatheredSection| match section {
            GatheredSection::All => 1,
            GatheredSection::Some(rows) => rows.count,
        };
        self.sections.values().map(of).sum()
    }

    /// All rows of every section that the rules name.
    pub fn add_all(&mut self, rules: &BoundRules) {
        for bound in &rules.0 {
            self.sections.insert(bound.rule.section, GatheredSection::All);
        }
    }

    /// All rows of a section.
    pub fn add_section(&mut self, section: usize) {
        self.sections.insert(section, GatheredSection::All);
    }

    /// Rows of a section by their ids in canonical form.
    pub fn add_ids(&mut self, section: usize, tenant: &Tenant, ids: &FxHashSet<Box<str>>) {
        let kept = self.sections.entry(section).or_insert_with(|| GatheredSection::Some(GatheredRows::default()));
        let GatheredSection::Some(rows) = kept else { return };
        let known = rows.ids.entry(tenant.clone()).or_default();
        rows.count += ids.iter().filter(|id| known.insert((*id).clone(), None).is_none()).count();
        if rows.count > MAX_ROWS {
            *kept = GatheredSection::All;
        }
    }

    /// Promised rows, told after all.
    pub fn of_promised(rows: &PromisedRows) -> Gathered {
        let mut gathered = Gathered::default();
        for ((section, tenant), ids) in &rows.groups {
            match ids {
                Ids::All => gathered.add_section(*section),
                Ids::These(ids) => gathered.add_ids(*section, tenant, ids),
            }
        }
        gathered
    }

    /// The rows that a changed row of a table concerns, but for those whose drop is promised already.
    pub fn add(&mut self, rules: &BoundRules, change: &RowChange<'_>, promised: Option<&PromisedRows>) {
        for bound in &rules.0 {
            let kept = self
                .sections
                .entry(bound.rule.section)
                .or_insert_with(|| GatheredSection::Some(GatheredRows::default()));
            let GatheredSection::Some(rows) = kept else { continue };
            if rows.add(bound, change, promised).is_none() || rows.count > MAX_ROWS {
                *kept = GatheredSection::All;
            }
        }
        // A row without an id concerns nothing.
        self.sections.retain(|_, section| !matches!(section, GatheredSection::Some(rows) if rows.count == 0));
    }

    /// Of sections of which rows are known by keys alone, any row may be meant.
    pub fn forget_keys(&mut self) {
        for section in self.sections.values_mut() {
            if matches!(section, GatheredSection::Some(rows) if !rows.keys.is_empty() || !rows.seen.is_empty()) {
                *section = GatheredSection::All;
            }
        }
    }

    /// Adds what a later transaction changed.
    pub fn merge(&mut self, later: Gathered) {
        for (section, changed) in later.sections {
            match (self.sections.get_mut(&section), changed) {
                (Some(kept @ GatheredSection::Some(_)), GatheredSection::Some(more)) => {
                    let GatheredSection::Some(rows) = kept else { continue };
                    if rows.merge(more).is_none() {
                        *kept = GatheredSection::All;
                    }
                }
                (Some(GatheredSection::All), _) => {}
                (_, changed) => drop(self.sections.insert(section, changed)),
            }
        }
    }
}

/// Takes note of a changed row; true where it is new.
fn note(rows: &mut FxHashMap<Box<str>, Same>, row: Box<str>, same: Same) -> bool {
    match rows.entry(row) {
        std::collections::hash_map::Entry::Vacant(vacant) => {
            vacant.insert(same);
            true
        }
        std::collections::hash_map::Entry::Occupied(mut known) => {
            let both = same_in_both(*known.get(), same);
            known.insert(both);
            false
        }
    }
}

/// None, here and below: it cannot be told which rows.
impl GatheredRows {
    fn add(&mut self, bound: &Bound, change: &RowChange<'_>, promised: Option<&PromisedRows>) -> Option<()> {
        match &bound.rule.source {
            IdSource::Whole => return None,
            IdSource::Moved(moved) => return self.add_moved(bound, moved, change),
            IdSource::Column { .. } | IdSource::Select { .. } => {}
        }
        match change {
            RowChange::Insert(tuple) | RowChange::Delete(tuple) | RowChange::Seen(tuple) => {
                self.add_row(bound, find(tuple, bound.id_at), bound.tenant_of(tuple)?, None, promised)
            }
            RowChange::Update { old: None, new } if !bound.tells_old_id() => {
                self.add_whole(bound.tenants_of(None, new)?.0)
            }
            RowChange::Update { old, new } => {
                let old_id = old.as_ref().map(|old| find(old, bound.id_at));
                let new_id = match (new.cells.get(bound.id_at), &old_id) {
                    // Not sent because it did not change.
                    (Some(Cell::Unchanged), Some(Found::Value(old))) => Found::Value(old),
                    _ => find(new, bound.id_at),
                };
                let tenant = bound.tenant_of(new)?;
                let mut same = None;
                match (old, old_id) {
                    (Some(old), Some(old_id)) => {
                        let old_tenant = match bound.tenant_of(old)? {
                            // It is in the identity and did not change, or it is not and nobody knows.
                            Tenant::Unknown if bound.tells_old_tenant() => tenant.clone(),
                            told => told,
                        };
                        // A row that becomes another one, or another's, goes here and comes there.
                        if old_id == new_id && old_tenant == tenant {
                            same = bound.same(old, new);
                        }
                        self.add_row(bound, old_id, old_tenant, same, promised)?;
                    }
                    _ if !bound.tells_old_tenant() => self.add_left(bound, &new_id)?,
                    _ => {}
                }
                self.add_row(bound, new_id, tenant, same, promised)
            }
        }
    }

    fn add_row(
        &mut self,
        bound: &Bound,
        id: Found<'_>,
        tenant: Tenant,
        same: Same,
        promised: Option<&PromisedRows>,
    ) -> Option<()> {
        let id = match id {
            Found::Nothing => return Some(()),
            Found::Unclear => return self.add_whole(tenant),
            Found::Value(id) => id,
        };
        let is_new = match &bound.rule.source {
            IdSource::Select { statement, .. } => {
                let key = std::str::from_utf8(id).ok()?.into();
                note(self.keys.entry((*statement, tenant)).or_default(), key, same)
            }
            IdSource::Column { .. } => {
                let id = canonical(bound.rule.id?, id)?;
                if promised.is_some_and(|promised| promised.holds(bound.rule.section, &tenant, &id)) {
                    return Some(());
                }
                note(self.ids.entry(tenant).or_default(), id, same)
            }
            IdSource::Moved(_) | IdSource::Whole => return None,
        };
        self.count += usize::from(is_new);
        Some(())
    }

    /// A row whose tenant before the change is not told: it may have been another's.
    fn add_left(&mut self, bound: &Bound, id: &Found<'_>) -> Option<()> {
        if let (IdSource::Column { .. }, Found::Value(id)) = (&bound.rule.source, id) {
            let is_new = self.left.insert(canonical(bound.rule.id?, id)?);
            self.count += usize::from(is_new);
        }
        Some(())
    }

    /// Any row of the tenant may have changed.
    fn add_whole(&mut self, tenant: Tenant) -> Option<()> {
        match tenant {
            _ if mutations::is("no-link-moves") => Some(()),
            Tenant::Known(_) => {
                let is_new = self.whole.insert(tenant);
                self.count += usize::from(is_new);
                Some(())
            }
            Tenant::None | Tenant::Unknown | Tenant::Former => None,
        }
    }

    /// A row by which a statement may have found other rows than now.
    fn add_moved(&mut self, bound: &Bound, moved: &Moved, change: &RowChange<'_>) -> Option<()> {
        match change {
            RowChange::Insert(_) if !moved.inserts => Some(()),
            RowChange::Insert(row) | RowChange::Delete(row) => self.add_whole(bound.tenant_of(row)?),
            RowChange::Update { old, new } => {
                if moved.columns.is_some() && !bound.may_have_moved(old.as_ref(), new) {
                    return Some(());
                }
                let (before, after) = bound.tenants_of(old.as_ref(), new)?;
                self.add_whole(before)?;
                self.add_whole(after)
            }
            RowChange::Seen(row) => match (&moved.columns, &moved.check) {
                (Some(_), Some((_, check))) if !moved.inserts => {
                    let Found::Value(key) = find(row, bound.id_at) else { return None };
                    let key = std::str::from_utf8(key).ok()?.into();
                    self.add_seen(*check, key, SeenRow { tenant: bound.tenant_of(row)?, image: bound.image_of(row) })
                }
                _ => self.add_whole(bound.tenant_of(row)?),
            },
        }
    }

    /// What looks like two rows of one key has moved.
    fn add_seen(&mut self, check: usize, key: Box<str>, row: SeenRow) -> Option<()> {
        match self.seen.entry(check).or_default().entry(key) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(row);
                self.count += 1;
                Some(())
            }
            std::collections::hash_map::Entry::Occupied(other) if *other.get() == row => Some(()),
            std::collections::hash_map::Entry::Occupied(other) => {
                let before = other.get().tenant.clone();
                self.add_whole(before)?;
                self.add_whole(row.tenant)
            }
        }
    }

    fn merge(&mut self, more: GatheredRows) -> Option<()> {
        let count = self.count + more.count;
        self.left.extend(more.left);
        self.whole.extend(more.whole);
        for (tenant, ids) in more.ids {
            let known = self.ids.entry(tenant).or_default();
            ids.into_iter().for_each(|(id, same)| _ = note(known, id, same));
        }
        for (key, values) in more.keys {
            let known = self.keys.entry(key).or_default();
            values.into_iter().for_each(|(value, same)| _ = note(known, value, same));
        }
        for (check, rows) in more.seen {
            for (key, row) in rows {
                self.add_seen(check, key, row)?;
            }
        }
        self.count = count;
        Some(())
    }
}

impl Bound {
    fn tenant_of(&self, tuple: &Tuple<'_>) -> Option<Tenant> {
        Some(match &self.rule.tenant {
            TenantSource::None => Tenant::None,
            TenantSource::Unknown => Tenant::Unknown,
            TenantSource::Column { ty, .. } => match find(tuple, self.tenant_at) {
                Found::Value(tenant) => Tenant::Known(canonical(*ty, tenant)?),
                Found::Nothing | Found::Unclear => Tenant::Unknown,
            },
        })
    }

    /// Before and after; None where the one before is told by nobody.
    fn tenants_of(&self, old: Option<&Tuple<'_>>, new: &Tuple<'_>) -> Option<(Tenant, Tenant)> {
        let after = self.tenant_of(new)?;
        let before = match old.map(|old| self.tenant_of(old)) {
            Some(told) => told?,
            None => Tenant::Unknown,
        };
        match before {
            // Not told, though it would have been if it were another.
            Tenant::Unknown if self.tells_old_tenant() => Some((after.clone(), after)),
            Tenant::Unknown => None,
            before => Some((before, after)),
        }
    }

    /// Whether a change of the tenant would show in the old row; true where there is no tenant to tell.
    fn tells_old_tenant(&self) -> bool {
        !matches!(self.rule.tenant, TenantSource::Column { in_identity: false, .. })
    }

    /// The same for the id or key.
    fn tells_old_id(&self) -> bool {
        !matches!(self.rule.source, IdSource::Column { in_identity: false, .. })
    }

    /// May one of the columns have changed that the statement reads?
    fn may_have_moved(&self, old: Option<&Tuple<'_>>, new: &Tuple<'_>) -> bool {
        self.read_at.iter().any(|(at, in_identity)| match old {
            None => !in_identity,
            Some(old) => match (find(old, *at), new.cells.get(*at)) {
                (Found::Unclear, _) => true,
                (_, Some(Cell::Unchanged)) => false,
                (before, _) => before != find(new, *at),
            },
        })
    }

    /// The columns that are as they were.
    fn same(&self, old: &Tuple<'_>, new: &Tuple<'_>) -> Same {
        self.rule.compared.as_ref()?;
        let is_same = |at: usize| match (find(old, at), new.cells.get(at)) {
            (Found::Unclear, _) => false,
            (_, Some(Cell::Unchanged)) => true,
            (before, _) => before == find(new, at),
        };
        let bits = self.compared_at.iter().filter(|(at, _)| is_same(*at)).map(|(_, bit)| bit);
        let ignores = mutations::is("ignore-a-column").then(|| self.compared_at.last()).flatten();
        Some(bits.fold(self.absent | ignores.map_or(0, |(_, bit)| *bit), |all, bit| all | bit))
    }

    fn image_of(&self, row: &Tuple<'_>) -> Box<[u8]> {
        let mut image = Vec::new();
        for (at, _) in &self.read_at {
            match find(row, *at) {
                Found::Value(text) => {
                    image.push(1);
                    image.extend(text.len().to_le_bytes());
                    image.extend(text);
                }
                Found::Nothing | Found::Unclear => image.push(0),
            }
        }
        image.into()
    }
}
