use super::*;
use crate::core::feed::gathered::{BoundRules, Gathered, GatheredSection};
use crate::core::feed::promised_rows::Ids;
use crate::core::feed::rules::{Cell, IdSource, RowChange, Rule, Tenant, TenantSource, Tuple};
use crate::core::values::value::ScalarType;

/// Rows of section 0.
fn rows(ids: &[&str]) -> PromisedRows {
    PromisedRows::merged(vec![((0, Tenant::None), Ids::These(ids.iter().map(|id| (*id).into()).collect()))])
}

fn transaction(xid: u64) -> TransactionId {
    TransactionId { server: "1".into(), xid }
}

/// The catalog of those who make and ask.
fn no_sections() -> Arc<[Section]> {
    static SECTIONS: std::sync::LazyLock<Arc<[Section]>> = std::sync::LazyLock::new(|| Arc::new([]));
    SECTIONS.clone()
}

#[test]
fn rows_are_those_of_the_section_and_tenant() {
    let known = |tenant: &str| Tenant::Known(tenant.into());
    let these = |ids: &[&str]| Ids::These(ids.iter().map(|id| (*id).into()).collect());
    let rows = PromisedRows::merged(vec![
        ((1, known("b")), these(&["3", "9"])),
        ((0, Tenant::None), these(&["5", "7"])),
        ((1, known("a")), these(&["3"])),
        ((0, Tenant::None), these(&["6", "7"])),
        ((1, known("c")), these(&["1"])),
        ((1, known("c")), Ids::All),
    ]);
    for (section, tenant, id, held) in [
        (0, Tenant::None, "5", true),
        (0, Tenant::None, "6", true),
        (0, Tenant::None, "8", false),
        (0, Tenant::Unknown, "5", false),
        (0, Tenant::Former, "5", false),
        (1, Tenant::None, "3", false),
        (1, known("a"), "3", true),
        (1, known("a"), "9", false),
        (1, known("b"), "9", true),
        (1, known("c"), "77", true),
        (2, Tenant::None, "5", false),
    ] {
        assert_eq!(rows.holds(section, &tenant, id), held, "{section} {tenant:?} {id}");
    }
    assert_eq!(rows.len(), 3 + 1 + 2 + 1);
    assert_eq!(Gathered::of_promised(&rows).len(), 3 + 1, "all of a section are one");
}

#[test]
fn a_promise_is_found_once_and_by_its_own_transaction_alone() {
    let promises = Promises::default();
    let _promised = promises.make(transaction((7 << 32) + 5), no_sections(), rows(&["1"]));
    assert!(promises.take("1", 5, &no_sections()).is_none(), "an id of another epoch");
    assert!(promises.take("2", (7 << 32) + 5, &no_sections()).is_none(), "another server gives the id to others");
    assert!(promises.take("1", (7 << 32) + 5, &no_sections()).is_some());
    assert!(promises.take("1", (7 << 32) + 5, &no_sections()).is_none());
}

#[test]
fn a_promise_of_a_catalog_that_numbers_its_sections_otherwise_counts_for_nothing() {
    let catalog = |names: &[&str]| -> Arc<[Section]> {
        let section = |name: &&str| {
            format!("[{name}]\nid = \"int\"\n[[{name}.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id\"\n")
        };
        let toml: String = names.iter().map(section).collect();
        crate::core::catalog::read_catalog::parse(&toml, &mut || 0).expect("it is a catalog").sections
    };
    let (old, same, other) = (catalog(&["a", "b"]), catalog(&["a", "b"]), catalog(&["a", "aa", "b"]));
    let promises = Promises::default();
    for (asked_with, is_found) in [(&old, true), (&same, true), (&other, false)] {
        let _promised = promises.make(transaction(5), old.clone(), rows(&["1"]));
        assert_eq!(promises.take("1", 5, asked_with).is_some(), is_found);
        assert!(promises.take("1", 5, &old).is_none(), "it is gone");
    }
}

#[test]
fn what_nobody_asks_for_is_forgotten() {
    let promises = Promises::default();
    let many: Vec<String> = (0..MAX_ROWS / 4).map(|id| id.to_string()).collect();
    let many = rows(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for xid in 0..1_000 {
        drop(promises.make(transaction(xid), no_sections(), rows(&["1"])));
    }
    assert!(promises.take("1", 999 - MAX_PROMISES as u64, &no_sections()).is_none());
    assert!(promises.take("1", 1_000 - MAX_PROMISES as u64, &no_sections()).is_some());
    for xid in 1_000..1_010 {
        drop(promises.make(transaction(xid), no_sections(), many.clone()));
    }
    assert!(promises.take("1", 999, &no_sections()).is_none() && promises.take("1", 1_005, &no_sections()).is_none());
    assert!((1_006..1_010).all(|xid| promises.take("1", xid, &no_sections()).is_some()));
    promises.set_followed(false);
    drop(promises.make(transaction(2_000), no_sections(), rows(&["1"])));
    promises.set_followed(false);
    assert!(promises.take("1", 2_000, &no_sections()).is_none());
}

/// What may happen to a job's transaction and to another one that changes the same row after it. The job has told of one
/// row and changed two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Commit,
    Hear,
    /// What becomes of the publication.
    End,
    /// Patience is over.
    Wait,
    OtherCommits,
    OtherIsHeard,
    /// All that is committed by now is to be told.
    Ask,
    Look,
}

const STEPS: [Step; 8] =
    [Step::Commit, Step::Hear, Step::End, Step::Wait, Step::OtherCommits, Step::OtherIsHeard, Step::Ask, Step::Look];

const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publication {
    /// It drops the told row.
    Comes,
    /// The applier was stopped, Redis is a replica.
    Never,
}

#[derive(Default)]
struct World {
    /// Drops of the told row: by the publication, by the feed; and of the other row by the feed.
    published: usize,
    told: usize,
    told_other: usize,
    committed: bool,
    other_committed: bool,
    heard: bool,
    other_heard: bool,
    /// What is to be told: of the job, of the other; and the mark.
    asked: Option<(bool, bool, u64)>,
    caught_up: Option<(bool, bool)>,
}

fn bound() -> BoundRules {
    let (source, id) = (IdSource::Column { name: "id".into(), in_identity: true }, Some(ScalarType::Int));
    let rule = Rule { section: 0, source, id, tenant: TenantSource::None, compared: None };
    BoundRules::bind(&[rule], &["id".into()]).expect("it has the column")
}

fn gather(ids: &[&str], promise: Option<&Promise>) -> Gathered {
    let mut gathered = Gathered::default();
    for id in ids {
        let tuple = Tuple { key_only: false, cells: vec![Cell::Text(id.as_bytes())] };
        gathered.add(&bound(), &RowChange::Insert(tuple), promise.map(Promise::rows));
    }
    gathered
}

impl World {
    fn tell(&mut self, gathered: &Gathered) {
        self.told += usize::from(has(gathered, "1"));
        self.told_other += usize::from(has(gathered, "2"));
    }
}

fn has(gathered: &Gathered, id: &str) -> bool {
    match gathered.sections.get(&0) {
        Some(GatheredSection::Some(rows)) => rows.ids.values().any(|ids| ids.contains_key(id)),
        Some(GatheredSection::All) => true,
        None => false,
    }
}

fn run(order: &[Step], publication: Publication) -> Option<World> {
    let promises = Promises::default();
    let mut awaited: Awaited<()> = Awaited::new(PATIENCE);
    let mut now = Instant::now();
    let mut promised = Some(promises.make(transaction(9), no_sections(), rows(&["1"])));
    let mut world = World::default();
    for step in order {
        match step {
            Step::Commit => world.committed = true,
            Step::Hear => {
                if !world.committed {
                    return None;
                }
                let promise = promises.take("1", 9, &no_sections()).expect("it was made before the commit");
                let mut gathered = gather(&["1", "2"], Some(&promise));
                if let Some(promise) = awaited.add(promise, (), now) {
                    gathered.merge(Gathered::of_promised(promise.rows()));
                }
                world.tell(&gathered);
                world.heard = true;
            }
            Step::End => {
                if !world.committed {
                    return None;
                }
                let promised = promised.take().expect("it ends once");
                if publication == Publication::Comes {
                    world.published += 1;
                    promised.keep();
                }
            }
            Step::Wait => now += PATIENCE,
            Step::OtherCommits => {
                if !world.committed {
                    return None;
                }
                world.other_committed = true;
            }
            Step::OtherIsHeard => {
                if !world.other_committed || !world.heard {
                    return None;
                }
                world.tell(&gather(&["1"], promises.take("1", 10, &no_sections()).as_deref()));
                world.other_heard = true;
            }
            Step::Ask => {
                // The stream is where the WAL was.
                if world.committed != world.heard || world.other_committed != world.other_heard {
                    return None;
                }
                world.asked = Some((world.heard, world.other_heard, awaited.mark()));
            }
            Step::Look => {
                for (promise, ()) in awaited.due(now) {
                    world.tell(&Gathered::of_promised(promise.rows()));
                }
            }
        }
        if let Some((own, other, _)) = world.asked.filter(|(.., mark)| !awaited.has_before(*mark)) {
            if world.caught_up.is_none() {
                world.caught_up = Some((own, other));
                let drops = world.published + world.told;
                assert!(drops >= usize::from(own) + usize::from(other), "{order:?}, {publication:?}");
                assert!(world.told_other >= usize::from(own), "{order:?}, {publication:?}");
            }
        }
    }
    Some(world)
}

fn permutations(steps: &mut Vec<Step>, at: usize, each: &mut dyn FnMut(&[Step])) {
    if at == steps.len() {
        return each(steps);
    }
    for other in at..steps.len() {
        steps.swap(at, other);
        permutations(steps, at + 1, each);
        steps.swap(at, other);
    }
}

#[test]
fn in_every_order_all_is_told_that_is_said_to_be_and_nothing_twice_without_need() {
    let mut orders = 0;
    for publication in [Publication::Comes, Publication::Never] {
        permutations(&mut STEPS.to_vec(), 0, &mut |order| {
            let Some(world) = run(order, publication) else { return };
            orders += 1;
            let at = |step: Step| order.iter().position(|known| *known == step).unwrap_or_default();
            assert_eq!(world.told_other, 1, "what the job has not told of: {order:?}");
            // The feed tells the row for the other transaction, and for the job's own where its publication is late.
            let is_late =
                at(Step::Look) > at(Step::Wait) && at(Step::Wait) > at(Step::Hear) && at(Step::End) > at(Step::Look);
            let told = match publication {
                Publication::Comes => 1 + usize::from(is_late),
                Publication::Never => world.told,
            };
            assert_eq!(
                (world.told, world.published),
                (told, usize::from(publication == Publication::Comes)),
                "{order:?}"
            );
        });
    }
    assert!(orders > 1_000, "{orders}");
}
