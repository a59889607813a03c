//! A model of batches, jobs that end their connection, and outages at any moment.

use proptest::prelude::*;

use super::*;

/// What ends connections. Each statement asks it, with the number of the statement so far.
struct World {
    poison: Vec<bool>,
    /// Do they crash all of Postgres, or end their own connection?
    crashes: bool,
    /// Numbers of the statements during which an outage comes, and whether it speaks to all.
    outages: Vec<(usize, bool)>,
    statements: usize,
    ends: usize,
}

impl World {
    /// How the connection ends under these jobs, if it does, and how the witness finds itself.
    fn run(&mut self, jobs: &[usize]) -> Option<(End, Witness)> {
        let number = self.statements;
        self.statements += 1;
        let outage = self.outages.iter().find(|(at, _)| *at == number);
        let end = match outage {
            Some((_, true)) => Some((End::Farewell, Witness::Crashed)),
            // A shutdown, a terminated crowd, a cut wire: it meets all.
            Some((_, false)) => Some((if number.is_multiple_of(2) { End::Told } else { End::Mute }, Witness::Ended)),
            None if !jobs.iter().any(|job| self.poison[*job]) => None,
            None if self.crashes => Some((End::Mute, Witness::Crashed)),
            None => Some((End::Told, Witness::Lives)),
        };
        self.ends += usize::from(end.is_some());
        end
    }
}

/// What came of the jobs that are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Left(u32),
    Charged,
}

/// Applies a batch to its end, as an applier does.
fn apply(world: &mut World, jobs: &[(usize, Option<u32>)]) -> Vec<(usize, Verdict)> {
    let known = jobs.iter().enumerate().filter_map(|(at, (_, ends))| Some(((0, at), (*ends)?)));
    let mut suspects = Suspects::new(known);
    let bound = 4 * world.outages.len() + 4 * jobs.len() + 4;
    'attempts: for _ in 0..bound {
        let tried: Vec<usize> = (0..jobs.len()).filter(|at| suspects.set_aside((0, *at)).is_none()).collect();
        let has_witness = suspects.need_witness();
        for piece in suspects.cut(&tried, |at| (0, at)) {
            let numbers: Vec<usize> = piece.iter().map(|at| jobs[*at].0).collect();
            if let Some((end, witness)) = world.run(&numbers) {
                let witness = if has_witness { witness } else { Witness::Absent };
                let places: Vec<JobPlace> = piece.iter().map(|at| (0, *at)).collect();
                let _ = suspects.ended(&places, cause(end, witness), "ended", None);
                continue 'attempts;
            }
        }
        return (0..jobs.len())
            .map(|at| match suspects.set_aside((0, at)) {
                None => (jobs[at].0, Verdict::Done),
                Some(aside) if aside.is_guilty() => (jobs[at].0, Verdict::Charged),
                Some(aside) => (jobs[at].0, Verdict::Left(aside.ends)),
            })
            .collect();
    }
    panic!("the batch does not end");
}

/// All batches until nobody is left: the jobs that were charged.
fn drain(world: &mut World, count: usize) -> Vec<usize> {
    let mut charged = Vec::new();
    let mut left: Vec<(usize, Option<u32>)> = Vec::new();
    let first: Vec<_> = (0..count).map(|job| (job, None)).collect();
    let mut take = |verdicts: Vec<(usize, Verdict)>, left: &mut Vec<(usize, Option<u32>)>| {
        for (job, verdict) in verdicts {
            match verdict {
                Verdict::Done => {}
                Verdict::Charged => charged.push(job),
                Verdict::Left(ends) => left.push((job, Some(ends))),
            }
        }
    };
    take(apply(world, &first), &mut left);
    for _ in 0..10_000 {
        let Some(job) = left.pop() else {
            charged.sort_unstable();
            return charged;
        };
        // Some alone, some in company.
        let mut batch = vec![job];
        if world.statements.is_multiple_of(3) {
            batch.append(&mut left);
        }
        take(apply(world, &batch), &mut left);
    }
    panic!("somebody is left for ever: {left:?}");
}

fn world(count: usize, poison: &[usize], crashes: bool, outages: Vec<(usize, bool)>) -> World {
    let mut is_poison = vec![false; count];
    poison.iter().for_each(|job| is_poison[*job] = true);
    World { poison: is_poison, crashes, outages, statements: 0, ends: 0 }
}

#[test]
fn one_among_a_thousand_costs_few_connections() {
    for crashes in [false, true] {
        for (count, poison, at_most) in
            [(1, vec![0], 3), (32, vec![7], 3), (1_000, vec![500], 4), (1_000, vec![0, 31, 999], 9)]
        {
            let mut world = world(count, &poison, crashes, vec![]);
            assert_eq!(drain(&mut world, count), poison);
            assert!(world.ends <= at_most, "{} of {count} {poison:?}", world.ends);
        }
    }
}

#[test]
fn a_statement_that_ends_the_connection_whatever_the_job_holds_nobody_up_for_long() {
    let mut world = world(1_000, &(0..999).collect::<Vec<_>>(), false, vec![]);
    let batch: Vec<_> = (0..1_000).map(|job| (job, None)).collect();
    let verdicts = apply(&mut world, &batch);
    assert!(verdicts[..999].iter().all(|(_, verdict)| matches!(verdict, Verdict::Left(0 | 1))));
    assert!(world.ends <= 16 + 1_000_usize.div_ceil(LUMP), "{}", world.ends);
}

#[test]
fn an_end_is_held_against_a_job_only_where_others_did_not_share_it() {
    for (end, witness, expected) in [
        (End::Told, Witness::Lives, Cause::Statement),
        (End::Mute, Witness::Lives, Cause::Statement),
        (End::Mute, Witness::Crashed, Cause::Statement),
        (End::Told, Witness::Crashed, Cause::Outage),
        (End::Told, Witness::Ended, Cause::Outage),
        (End::Mute, Witness::Ended, Cause::Outage),
        (End::Told, Witness::Absent, Cause::Unknown),
        (End::Mute, Witness::Absent, Cause::Unknown),
        (End::Farewell, Witness::Lives, Cause::Outage),
        (End::Farewell, Witness::Crashed, Cause::Outage),
    ] {
        assert_eq!(cause(end, witness), expected, "{end:?} {witness:?}");
    }
}

#[test]
fn who_ends_all_connections_is_set_aside_and_never_pays() {
    let mut suspects = Suspects::default();
    let all: Vec<JobPlace> = (0..1_000).map(|at| (0, at)).collect();
    let mut ends = 0;
    while suspects.set_aside((0, 500)).is_none() {
        let pieces = suspects.cut(&all, |job| job);
        let piece = pieces.iter().find(|piece| piece.contains(&(0, 500))).expect("it is in one");
        let cause = if suspects.need_witness() { Cause::Outage } else { Cause::Unknown };
        let _ = suspects.ended(piece, cause, "ended", None);
        ends += 1;
    }
    assert!(ends <= 2 * OUTAGES + 3, "{ends}");
    assert!(suspects.set_aside((0, 500)).is_some_and(|aside| aside.ends == 0 && !aside.is_guilty()));
    assert_eq!(suspects.set_aside.len(), 1);
}

#[test]
fn who_was_set_aside_before_is_tried_alone_and_with_a_witness() {
    let suspects = Suspects::new([((0, 1), 1)].into_iter());
    assert!(suspects.need_witness());
    assert_eq!(suspects.cut(&[0, 1, 2], |at| (0, at)), [vec![1], vec![0, 2]]);
    assert!(!Suspects::default().need_witness());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_guilty_are_found_and_nobody_else_pays(
        count in 1usize..200,
        poison in prop::collection::btree_set(0usize..200, 0..5),
        crashes in any::<bool>(),
        outages in prop::collection::btree_map(0usize..200, any::<bool>(), 0..20),
    ) {
        let poison: Vec<usize> = poison.into_iter().filter(|job| *job < count).collect();
        let outages: Vec<_> = outages.into_iter().collect();
        let limit = 1 + 4 * poison.len() + 4 * outages.len();
        let mut world = world(count, &poison, crashes, outages);
        prop_assert_eq!(drain(&mut world, count), poison);
        prop_assert!(world.ends <= limit, "{} ends", world.ends);
    }
}
