//! One row of the inbox against everything that may be lost, in every order: a model of who knows what of it.
//!
//! Redis may forget all, or come back with what it had at some earlier step; a worker may stand still for as long as it likes and
//! then say that it is done; what is on the way between the two threads goes with the process. Whatever happens, an effect in
//! Postgres is there at most once, and where nothing more is lost, once, and nobody remembers the row any more.

use std::collections::{BTreeSet, VecDeque};

use super::tell::{Telling, ToldAs};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Its own transaction deletes the row.
    Sql,
    /// Its worker calls bear.complete in the transaction of its effect.
    Completed,
    /// Its worker acknowledges it to Redis: an effect elsewhere, at least once.
    Acked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Open { fence: u8 },
    Done { token: u8 },
    Gone,
}

/// What is kept in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Kept {
    is_taken: bool,
    claim: Option<u8>,
    tell: Option<Tell>,
}

/// [`Telling`] with small numbers, so that states can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tell {
    Done,
    Fence(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Told,
    Gone,
    Completed,
}

/// From the thread that asks Postgres, in the order in which it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Open,
    Completed,
    /// Of a job that was taken before the last loss.
    Verified(Answer),
    Told(Tell, Answer),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    row: Row,
    effects: u8,
    kept: Kept,
    /// What an earlier step had kept, and may come back.
    saved: Kept,
    words: Vec<Word>,
    /// Nothing is handed out of what was loaded until Postgres has been asked.
    is_verified: bool,
    /// Has the thread listed the open rows since the last loss, and told of the completed one?
    has_listed: bool,
    has_told_done: bool,
    /// What the thread is telling, until the answer has come.
    telling: Option<Tell>,
    tokens: u8,
    /// Workers that believe that they hold the job.
    workers: BTreeSet<u8>,
    /// The transaction that has applied it has not been published yet.
    is_applied: bool,
    losses: u8,
}

const LOSSES: u8 = 2;
const TOKENS: u8 = 3;

/// How a step is taken note of.
type Step<'s> = &'s mut dyn FnMut(&dyn Fn(&mut State));

struct Rules {
    kind: Kind,
    /// What is left out, to see that it is needed.
    without: &'static str,
}

impl Rules {
    fn has(&self, rule: &str) -> bool {
        self.without != rule
    }

    /// All that may happen next; losses apart, since they need not.
    fn next(&self, state: &State) -> (Vec<State>, Vec<State>) {
        let (mut steps, mut strikes) = (Vec::new(), Vec::new());
        let mut step = |change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push(next);
        };
        self.ask(state, &mut step);
        self.work(state, &mut step);
        if let Some(word) = state.words.first().copied() {
            step(&|next| {
                next.words.remove(0);
                self.hear(next, word);
            });
        }
        if state.saved != state.kept && state.losses < LOSSES {
            let mut saved = state.clone();
            saved.saved = state.kept;
            strikes.push(saved);
        }
        if state.losses < LOSSES {
            for kept in [state.saved, Kept::default(), state.kept] {
                let mut next = state.clone();
                let lost = Kept { claim: kept.claim.filter(|_| kept.is_taken), ..kept };
                next.kept = lost;
                next.losses += 1;
                (next.has_listed, next.has_told_done, next.telling, next.is_applied) = (false, false, None, false);
                next.is_verified = !lost.is_taken;
                if self.has("lives") {
                    next.words.clear();
                }
                strikes.push(next);
            }
        }
        (steps, strikes)
    }

    /// The thread that asks Postgres.
    fn ask(&self, state: &State, step: Step) {
        if !state.is_verified
            && state.kept.is_taken
            && !state.words.iter().any(|word| matches!(word, Word::Verified(_)))
        {
            let answer = match state.row {
                Row::Open { .. } => Answer::Told,
                Row::Done { .. } => Answer::Completed,
                Row::Gone => Answer::Gone,
            };
            step(&|next| next.words.push(Word::Verified(answer)));
        }
        if !state.has_listed {
            step(&|next| {
                next.has_listed = true;
                if matches!(next.row, Row::Open { .. }) {
                    next.words.push(Word::Open);
                }
            });
        }
        if matches!(state.row, Row::Done { .. }) && !state.has_told_done {
            step(&|next| {
                next.has_told_done = true;
                next.words.push(Word::Completed);
            });
        }
        if let (Some(tell), None) = (state.kept.tell, state.telling) {
            step(&|next| {
                next.telling = Some(tell);
                let answer = match (tell, next.row) {
                    (_, Row::Gone) => Answer::Gone,
                    (Tell::Done, _) => {
                        next.row = Row::Gone;
                        Answer::Told
                    }
                    (Tell::Fence(_), Row::Done { .. }) => Answer::Completed,
                    (Tell::Fence(token), Row::Open { fence }) => {
                        let fence = if self.has("fence") { fence.max(token) } else { fence };
                        next.row = Row::Open { fence };
                        Answer::Told
                    }
                };
                next.words.push(Word::Told(tell, answer));
            });
        }
    }

    /// Redis' thread hears of it.
    fn hear(&self, state: &mut State, word: Word) {
        let kept = &mut state.kept;
        match word {
            Word::Open => {
                let is_unknown = !kept.is_taken && (kept.tell.is_none() || !self.has("outcomes"));
                if is_unknown {
                    *kept = Kept { is_taken: true, claim: None, tell: None };
                }
            }
            Word::Completed => {
                if kept.is_taken || kept.tell.is_none() {
                    *kept = Kept { is_taken: false, claim: None, tell: Some(Tell::Done) };
                }
            }
            Word::Verified(answer) => {
                state.is_verified = true;
                match answer {
                    _ if !kept.is_taken => {}
                    Answer::Told => {}
                    Answer::Gone => *kept = Kept::default(),
                    Answer::Completed => *kept = Kept { is_taken: false, claim: None, tell: Some(Tell::Done) },
                }
            }
            Word::Told(tell, answer) => {
                state.telling = None;
                if kept.tell != Some(tell) {
                    return;
                }
                match (tell, answer) {
                    (Tell::Done, _) | (Tell::Fence(_), Answer::Told) => kept.tell = None,
                    (Tell::Fence(_), Answer::Gone) => *kept = Kept::default(),
                    (Tell::Fence(_), Answer::Completed) => {
                        *kept = Kept { is_taken: false, claim: None, tell: Some(Tell::Done) };
                    }
                }
            }
        }
    }

    /// Who does the job.
    fn work(&self, state: &State, step: Step) {
        let kept = state.kept;
        if self.kind == Kind::Sql {
            if kept.is_taken && !state.is_applied {
                step(&|next| {
                    next.is_applied = true;
                    if matches!(next.row, Row::Open { .. }) || !self.has("deleted with its effect") {
                        next.row = Row::Gone;
                        next.effects += 1;
                    }
                });
            }
            if state.is_applied {
                step(&|next| {
                    next.is_applied = false;
                    next.kept = Kept::default();
                });
            }
            return;
        }
        let is_withheld = matches!(kept.tell, Some(Tell::Fence(_))) && self.has("withheld");
        let may_be_had =
            kept.is_taken && kept.claim.is_none() && !is_withheld && (state.is_verified || !self.has("verified"));
        if may_be_had && state.tokens < TOKENS {
            step(&|next| {
                next.tokens += 1;
                next.kept.claim = Some(next.tokens);
                next.workers.insert(next.tokens);
                if self.kind == Kind::Acked {
                    assert!(
                        matches!(next.row, Row::Open { .. }),
                        "a job whose outcome is known is handed out: {next:?}"
                    );
                }
            });
        }
        if let Some(token) = kept.claim.filter(|_| state.tokens < TOKENS) {
            // The lease ends, or the worker gives it back.
            step(&|next| {
                next.kept.claim = None;
                next.kept.tell = Some(Tell::Fence(token));
            });
        }
        for token in state.workers.iter().copied() {
            match self.kind {
                Kind::Completed => step(&|next| {
                    next.workers.remove(&token);
                    if let Row::Open { fence } = next.row {
                        if fence < token {
                            assert!(
                                next.kept.claim.is_none_or(|of| of == token) || next.losses > 0,
                                "a token that is not in force: {next:?}"
                            );
                            next.row = Row::Done { token };
                            next.effects += 1;
                        }
                    }
                }),
                _ => step(&|next| {
                    next.workers.remove(&token);
                    if next.kept.claim == Some(token) {
                        let tell = self.has("outcomes").then_some(Tell::Done);
                        next.kept = Kept { is_taken: false, claim: None, tell };
                    }
                }),
            }
        }
    }
}

/// Tries everything; None: nothing is wrong.
fn run(rules: &Rules) -> usize {
    let begin = State {
        row: Row::Open { fence: 0 },
        effects: 0,
        kept: Kept::default(),
        saved: Kept::default(),
        words: Vec::new(),
        is_verified: true,
        has_listed: false,
        has_told_done: false,
        telling: None,
        tokens: 0,
        workers: BTreeSet::new(),
        is_applied: false,
        losses: 0,
    };
    let (mut seen, mut queue) = (BTreeSet::from([begin.clone()]), VecDeque::from([begin]));
    while let Some(state) = queue.pop_front() {
        assert!(state.effects <= 1 || rules.kind == Kind::Acked, "twice: {state:?}");
        let (steps, strikes) = rules.next(&state);
        let moves = steps.iter().filter(|next| **next != state).count();
        if moves == 0 {
            let is_held = state.kept.claim.is_some();
            let is_over = state.row == Row::Gone && state.kept == Kept::default();
            // The model gives out so many tokens and no more: the last worker may have died with its own.
            assert!(is_over || (is_held || state.tokens == TOKENS) && rules.kind != Kind::Sql, "stuck: {state:?}");
            assert!(!is_over || state.effects == 1 || rules.kind == Kind::Acked, "lost: {state:?}");
        }
        for next in steps.into_iter().chain(strikes) {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
fn an_effect_is_there_once_whatever_is_lost() {
    for kind in [Kind::Sql, Kind::Completed, Kind::Acked] {
        let states = run(&Rules { kind, without: "" });
        assert!(states > 100, "{kind:?}: {states}");
    }
}

#[test]
fn each_rule_is_needed() {
    for (kind, without) in [
        (Kind::Sql, "deleted with its effect"),
        (Kind::Completed, "fence"),
        (Kind::Completed, "withheld"),
        (Kind::Acked, "outcomes"),
        (Kind::Acked, "verified"),
        (Kind::Acked, "lives"),
    ] {
        let result = std::panic::catch_unwind(|| run(&Rules { kind, without }));
        assert!(result.is_err(), "{kind:?} is right without {without}");
    }
}

#[test]
fn tellings_are_those_of_the_model() {
    // A new kind of news is a new state of the model.
    for telling in [Telling::Done, Telling::Failed("{}".into()), Telling::Fence(1)] {
        match telling {
            Telling::Done | Telling::Failed(_) | Telling::Fence(_) => {}
        }
    }
    match ToldAs::Told {
        ToldAs::Told | ToldAs::Gone | ToldAs::Completed { .. } => {}
    }
}
